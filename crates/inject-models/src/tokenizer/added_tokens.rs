//! The tokens that stand in files of their own beside a vocabulary.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
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
    normalized: Option<bool>,
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
    let Beside { file, settings, added } = Beside::read(vocabulary)?;
    // Texts are searched for all of them before they are normalised.
    let added: BTreeMap<u32, AddedToken> =
        added.into_iter().map(|(id, token)| (id, token.normalized(false))).collect();
    let special = special_tokens(&settings, defaults, &added);
    let special: Vec<AddedToken> = special.into_iter().map(|token| token.normalized(false)).collect();
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

/// Adds the tokens that the files beside a `tokenizer.json` describe. `own` are the added tokens of that file: they come before those of
/// `added_tokens.json`, and do not count if `tokenizer_config.json` has an `added_tokens_decoder`.
///
/// As in transformers, a token that the vocabulary does not have gets the next id, whatever id the files give it.
///
/// # Source
///
/// As [`add`].
pub(super) fn add_to_json(
    tokenizer: &mut tokenizers::Tokenizer,
    path: &Path,
    defaults: &[(&str, &str)],
    own: BTreeMap<u32, AddedToken>,
) -> tokenizers::Result<()> {
    let Beside { file, settings, mut added } = Beside::read(path)?;
    if file != DECODER_FILE {
        added.extend(own);
    }
    let special = special_tokens(&settings, defaults, &added);
    limits::check_added(added.values().chain(&special).map(|token| token.content.as_str()))?;
    let known = tokenizer.get_added_vocabulary().get_added_tokens_decoder();
    let known: HashMap<&str, &AddedToken> =
        known.values().map(|token| (token.content.as_str(), token)).collect();
    let listed: HashSet<&str> = added.values().map(|token| token.content.as_str()).collect();
    let mut new: Vec<AddedToken> = Vec::new();
    new.extend(added.values().filter(|token| known.get(token.content.as_str()) != Some(token)).cloned());
    let is_new = |token: &&AddedToken| {
        let content = token.content.as_str();
        !known.contains_key(content) && !listed.contains(content)
    };
    new.extend(special.iter().filter(is_new).cloned());
    let named = special.iter().filter(|token| listed.contains(token.content.as_str()));
    let named: HashSet<&str> = named.map(|token| token.content.as_str()).collect();
    for token in &mut new {
        token.special |= named.contains(token.content.as_str());
    }
    if !new.is_empty() {
        tokenizer.add_tokens(new)?;
    }
    Ok(())
}

/// The file with the key `added_tokens_decoder`.
const DECODER_FILE: &str = "tokenizer_config.json";

/// What the files beside a vocabulary say about tokens.
struct Beside {
    /// The file that has the added tokens.
    file: &'static str,
    settings: Map<String, Value>,
    added: BTreeMap<u32, AddedToken>,
}

impl Beside {
    fn read(vocabulary: &Path) -> tokenizers::Result<Self> {
        let beside = |name: &str| json::<Map<String, Value>>(&vocabulary.with_file_name(name));
        let mut settings = beside(DECODER_FILE)?.unwrap_or_default();
        if let Some(decoder) = settings.remove("added_tokens_decoder") {
            let decoder = serde_json::from_value::<BTreeMap<u32, Described>>(decoder)
                .map_err(|error| format!("{DECODER_FILE}: added_tokens_decoder: {error}"))?;
            let added = decoder.into_iter().map(|(id, token)| (id, token.into())).collect();
            return Ok(Beside { file: DECODER_FILE, settings, added });
        }
        settings.extend(beside("special_tokens_map.json")?.unwrap_or_default());
        let file = "added_tokens.json";
        let ids = json::<BTreeMap<String, u32>>(&vocabulary.with_file_name(file))?.unwrap_or_default();
        let special: HashSet<String> = special_of(&settings, &[]).map(Special::into_text).collect();
        let token = |(token, id): (String, u32)| {
            let is_special = special.contains(&token);
            (id, AddedToken::from(token, is_special))
        };
        let added = ids.into_iter().map(token).collect();
        Ok(Beside { file, settings, added })
    }
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
    let by_text: HashMap<&str, &AddedToken> =
        added.values().map(|token| (token.content.as_str(), token)).collect();
    let with_settings = |special: Special| match special {
        Special::Described(described) => AddedToken { special: true, ..described.into() },
        Special::Text(text) => match by_text.get(text.as_str()) {
            Some(&token) => AddedToken { special: true, ..token.clone() },
            None => AddedToken::from(text, true),
        },
    };
    special_of(settings, defaults).map(with_settings).collect()
}

/// Returns the special tokens that the settings name, in the same order.
fn special_of<'a>(
    settings: &'a Map<String, Value>,
    defaults: &'a [(&str, &str)],
) -> impl Iterator<Item = Special> + 'a {
    let named = NAMED.iter().filter_map(|key| named(settings, defaults, key));
    // Some of these keys are flags, such as `add_bos_token`.
    let others = settings.iter().filter(|(key, _)| key.ends_with("_token") && !NAMED.contains(&key.as_str()));
    let (older, list) = (settings.get("additional_special_tokens"), settings.get("extra_special_tokens"));
    // A newer list takes the place of the older one, and named tokens stand beside it.
    let lists = [list, older.filter(|_| !matches!(list, Some(Value::Array(_))))];
    let listed = lists.into_iter().flatten().flat_map(|list| match list {
        Value::Array(list) => list.iter().collect(),
        Value::Object(by_name) => by_name.values().collect(),
        _ => Vec::new(),
    });
    named.chain(others.map(|(_, value)| value).chain(listed).filter_map(read))
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
    fn from(described: Described) -> Self {
        let Described { content, single_word, lstrip, rstrip, normalized, special } = described;
        let normalized = normalized.unwrap_or(!special);
        AddedToken { content, single_word, lstrip, rstrip, normalized, special }
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
