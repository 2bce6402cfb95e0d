//! The tokens that stand in files of their own beside a vocabulary.

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::limits;
use crate::checkpoint::read_text;

/// A token with its settings, as `added_tokens_decoder` and the maps of special tokens describe it.
#[derive(Deserialize)]
struct Described {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    special: bool,
}

/// A special token by its text alone, or with its settings.
#[derive(Deserialize)]
#[serde(untagged)]
enum Special {
    Text(String),
    Described(Described),
}

/// The tokens that may stand at the ends of a text.
pub(super) struct Ends {
    pub(super) bos: Option<String>,
    pub(super) eos: Option<String>,
}

/// Adds the tokens that the files beside a vocabulary describe: a text is searched for them before anything else. `defaults` are the
/// special tokens that the class of the tokenizer has where the files do not name others, by their keys.
///
/// Returns the tokens for the ends of a text.
///
/// `added_tokens_decoder` in `tokenizer_config.json` lists all of them. Without it, `added_tokens.json` and
/// `special_tokens_map.json` count. Special tokens that have no id yet get the next one.
///
/// # Source
///
/// Hugging Face transformers 5.24, `tokenization_utils_base.py` (`_from_pretrained`) and `tokenization_utils_tokenizers.py`.
pub(super) fn add(
    tokenizer: &mut tokenizers::Tokenizer,
    vocabulary: &Path,
    defaults: &[(&str, &str)],
) -> tokenizers::Result<Ends> {
    let beside = |name: &str| json::<Map<String, Value>>(&vocabulary.with_file_name(name));
    let mut settings = beside("tokenizer_config.json")?.unwrap_or_default();
    let mut added: BTreeMap<u32, AddedToken> = BTreeMap::new();
    let file = match settings.remove("added_tokens_decoder") {
        Some(decoder) => {
            for (id, token) in serde_json::from_value::<BTreeMap<u32, Described>>(decoder)? {
                added.insert(id, token.into());
            }
            "tokenizer_config.json"
        }
        None => {
            settings.extend(beside("special_tokens_map.json")?.unwrap_or_default());
            for (token, id) in json::<BTreeMap<String, u32>>(&vocabulary.with_file_name("added_tokens.json"))?
                .unwrap_or_default()
            {
                added.insert(id, AddedToken::from(token, false).normalized(false));
            }
            "added_tokens.json"
        }
    };
    let special = special_tokens(&settings, defaults, &added);
    limits::check_added(added.values().chain(&special).map(|token| token.content.as_str()))?;
    // In the order of their ids, because each new token gets the next one.
    tokenizer.add_tokens(added.values().cloned())?;
    for (id, token) in &added {
        let token = &token.content;
        let found = tokenizer.token_to_id(token);
        if found != Some(*id) {
            let found = found.map_or_else(|| "no id".to_owned(), |found| format!("id {found}"));
            return Err(format!("{file}: token `{token}` has id {id}, expected {found}").into());
        }
    }
    tokenizer.add_special_tokens(special)?;
    let text = |key: &str| named(&settings, defaults, key).map(Special::into_text);
    Ok(Ends { bos: text("bos_token"), eos: text("eos_token") })
}

/// The keys of special tokens that every class knows, in the order in which those without an id get one.
const NAMED: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Returns the special tokens of a class with these settings, in the order in which those without an id get one.
fn special_tokens(
    settings: &Map<String, Value>,
    defaults: &[(&str, &str)],
    added: &BTreeMap<u32, AddedToken>,
) -> Vec<AddedToken> {
    let named = NAMED.iter().filter_map(|key| named(settings, defaults, key));
    // Some of these keys are flags, such as `add_bos_token`.
    let others = settings.iter().filter(|(key, _)| key.ends_with("_token") && !NAMED.contains(&key.as_str()));
    let lists = ["additional_special_tokens", "extra_special_tokens"].into_iter();
    let listed = lists.filter_map(|key| settings.get(key)).flat_map(|list| match list {
        Value::Array(list) => list.iter().collect(),
        Value::Object(by_name) => by_name.values().collect(),
        _ => Vec::new(),
    });
    let special: Vec<Special> =
        named.chain(others.map(|(_, value)| value).chain(listed).filter_map(read)).collect();
    let by_text: HashMap<&str, &AddedToken> =
        added.values().map(|token| (token.content.as_str(), token)).collect();
    let with_settings = |special: Special| match special {
        Special::Described(described) => AddedToken { special: true, ..described.into() },
        Special::Text(text) => match by_text.get(text.as_str()) {
            Some(&token) => AddedToken { special: true, ..token.clone() },
            None => AddedToken::from(text, true),
        },
    };
    special.into_iter().map(with_settings).collect()
}

/// Returns the special token that a key names, or the default of the tokenizer class.
fn named(settings: &Map<String, Value>, defaults: &[(&str, &str)], key: &str) -> Option<Special> {
    match settings.get(key) {
        Some(value) => read(value),
        None => {
            defaults.iter().find(|(of, _)| *of == key).map(|(_, token)| Special::Text((*token).to_owned()))
        }
    }
}

fn read(value: &Value) -> Option<Special> {
    serde_json::from_value(value.clone()).ok()
}

impl Special {
    fn into_text(self) -> String {
        match self {
            Special::Text(text) => text,
            Special::Described(described) => described.content,
        }
    }
}

impl From<Described> for AddedToken {
    /// Texts are searched for the token before they are normalised.
    fn from(described: Described) -> Self {
        let Described { content, single_word, lstrip, rstrip, special } = described;
        AddedToken { content, single_word, lstrip, rstrip, normalized: false, special }
    }
}

/// Reads a file of JSON. Returns `None` if there is no such file.
fn json<T: serde::de::DeserializeOwned>(path: &Path) -> tokenizers::Result<Option<T>> {
    if !path.exists() {
        return Ok(None);
    }
    let value = serde_json::from_str(&read_text(path)?)
        .map_err(|error| format!("{}: {error}", path.file_name().unwrap_or_default().display()))?;
    Ok(Some(value))
}
