//! The tokens that a text is searched for before anything else.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::Path,
};

use indexmap::IndexMap;
use serde_json::Value;
use tokenizers::{AddedToken, PostProcessorWrapper};

use super::{
    beside::{Beside, Tokens},
    limits,
    member::Member,
    pieces::Around,
    special::Special,
};
use crate::error::ModelError;

/// The special tokens that a class has if the files do not name others, by their keys.
pub(super) type Defaults<'a> = &'a [(&'a str, &'a str)];

/// The tokens that the files of a tokenizer describe.
///
/// `added_tokens_decoder` in `tokenizer_config.json` lists those with ids. Without it, `added_tokens.json` does, and
/// `special_tokens_map.json` counts. A special token that has no id yet gets the next one.
///
/// # Source
///
/// Hugging Face transformers 5.24, `tokenization_utils_base.py` (`_from_pretrained`, `PreTrainedTokenizerBase`) and
/// `tokenization_utils_tokenizers.py` (`TokenizersBackend`).
pub(super) struct AddedTokens {
    numbered: BTreeMap<u32, AddedToken>,
    /// The special tokens that have a key, in the order in which those without an id get one.
    named: IndexMap<String, Special>,
    /// The special tokens without a key.
    listed: Vec<Special>,
}

/// The keys of special tokens that every class knows.
const NAMED: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// The key of a list of special tokens, or of their names, and its older spelling.
const LIST: &str = "extra_special_tokens";
const OLDER_LIST: &str = "additional_special_tokens";

/// The key of special tokens with names of the model's own.
const MODEL_SPECIFIC: &str = "model_specific_special_tokens";

impl AddedTokens {
    /// Collects the tokens of the files beside a vocabulary.
    ///
    /// `own` are the added tokens of a `tokenizer.json`: they come before those of `added_tokens.json`, and do not count beside an
    /// `added_tokens_decoder`. `pieces` are those of a file of SentencePiece: they take the place of an
    /// `additional_special_tokens`, and do not count beside an `extra_special_tokens`.
    pub(super) fn of(
        beside: &Beside,
        own: BTreeMap<u32, AddedToken>,
        pieces: Option<Vec<AddedToken>>,
        defaults: Defaults<'_>,
    ) -> Self {
        let is_of_tokens = |key: &str| key.ends_with("_token") || key == LIST || key == OLDER_LIST;
        let of_tokens = beside.settings.iter().filter(|(key, _)| is_of_tokens(key));
        let mut settings: IndexMap<String, Member> =
            of_tokens.map(|(key, value)| (key.to_owned(), value.clone())).collect();
        if is_empty(settings.get(LIST))
            && let Some(list) = settings.shift_remove(OLDER_LIST)
        {
            settings.insert(LIST.to_owned(), list);
        }
        // Keys of the model's own, such as `image_token`. Some of these keys are flags, such as `add_bos_token`.
        let is_own = |key: &str| key.ends_with("_token") && !NAMED.contains(&key);
        let is_text = |value: &Member| value.plain().is_some_and(Value::is_string);
        let (texts, mut settings): (IndexMap<_, _>, IndexMap<_, _>) =
            settings.into_iter().partition(|(key, value)| is_own(key) && is_text(value));
        let mut own_names: IndexMap<String, Special> =
            texts.into_iter().filter_map(|(key, value)| Some((key, Special::read(&value)?))).collect();
        if let Some(Member::Object(named)) = beside.settings.get(MODEL_SPECIFIC) {
            let named = named.iter().filter_map(|(name, token)| Some((name.clone(), Special::of(token)?)));
            own_names.extend(named);
        }
        take_names(&mut settings, &mut own_names);
        if let Tokens::Older { special, .. } = &beside.tokens {
            merge(&mut settings, special);
            take_names(&mut settings, &mut own_names);
        }
        let numbered = numbered(&beside.tokens, own, &settings);

        let by_text: HashMap<&str, &AddedToken> =
            numbered.values().map(|token| (token.content.as_str(), token)).collect();
        let known = NAMED.iter().filter_map(|&key| {
            let special = match settings.get(key) {
                Some(value) => {
                    let special = Special::read(value)?;
                    by_text.get(special.text()).map_or(special, |&token| Special::Token(token.clone()))
                }
                // The place of a key that every class knows does not depend on where the files name its token.
                None => match own_names.get(key) {
                    Some(special) => special.clone(),
                    None => Special::Text(defaults.iter().find(|(of, _)| *of == key)?.1.to_owned()),
                },
            };
            Some((key.to_owned(), special))
        });
        let known: Vec<(String, Special)> = known.collect();
        let others = settings.iter().filter(|(key, _)| is_own(key));
        let others = others.filter_map(|(key, value)| Some((key.to_owned(), Special::read(value)?)));
        let named = known.into_iter().chain(others).chain(own_names).collect();
        let listed = match (settings.get(LIST), pieces) {
            (Some(list), _) => read_list(list),
            (None, Some(pieces)) => pieces.into_iter().map(Special::Token).collect(),
            (None, None) => settings.get(OLDER_LIST).map(read_list).unwrap_or_default(),
        };
        AddedTokens { numbered, named, listed }
    }

    /// Returns the tokens that the files give ids.
    pub(super) fn numbered(&self) -> &BTreeMap<u32, AddedToken> {
        &self.numbered
    }

    /// Looks for the tokens that have ids in texts before these are normalised.
    pub(super) fn before_normalisation(&mut self) {
        self.numbered.values_mut().for_each(|token| token.normalized = false);
    }

    /// Returns the text of the special token with a key.
    pub(super) fn named(&self, key: &str) -> Option<&str> {
        Some(self.named.get(key)?.text())
    }

    /// Adds the tokens to a tokenizer. One that the vocabulary does not have gets the next id, whatever id the files give it.
    pub(super) fn add_to(&self, tokenizer: &mut tokenizers::Tokenizer) -> tokenizers::Result<()> {
        let texts = self.numbered.values().map(|token| token.content.as_str());
        limits::check_added(texts.clone().chain(self.special().map(Special::text)))?;
        let known = tokenizer.get_added_vocabulary().get_added_tokens_decoder();
        let known: HashMap<&str, &AddedToken> =
            known.values().map(|token| (token.content.as_str(), token)).collect();
        let numbered: HashSet<&str> = texts.collect();
        let is_named: HashSet<&str> = self.named.iter().map(|(_, special)| special.text()).collect();
        let others = self
            .special()
            .filter(|special| !known.contains_key(special.text()) && !numbered.contains(special.text()));
        // In the order of their ids, because each new token gets the next one.
        let all = self.numbered.values().cloned().chain(others.map(Special::token));
        let all = all.map(|mut token| {
            token.special |= is_named.contains(token.content.as_str());
            token
        });
        let new: Vec<AddedToken> =
            all.filter(|token| known.get(token.content.as_str()) != Some(&token)).collect();
        if !new.is_empty() {
            tokenizer.add_tokens(new)?;
        }
        Ok(())
    }

    /// Adds the special tokens once more, without their settings.
    pub(super) fn forget_settings(&self, tokenizer: &mut tokenizers::Tokenizer) -> tokenizers::Result<()> {
        tokenizer.add_tokens(self.special().map(|special| AddedToken::from(special.text(), true)))?;
        Ok(())
    }

    /// Checks that a tokenizer has given the tokens the ids that the files give them.
    pub(super) fn check_ids(
        &self,
        tokenizer: &tokenizers::Tokenizer,
        beside: &Beside,
        vocabulary: &Path,
    ) -> Result<(), ModelError> {
        let path = vocabulary.with_file_name(beside.tokens.file());
        self.numbered.iter().try_for_each(|(id, token)| match tokenizer.token_to_id(&token.content) {
            Some(found) if found != *id => {
                let expected = format!("{found}, the id that the vocabulary gives it");
                Err(ModelError::bad_key(&path, &token.content, &id.to_string(), &expected))
            }
            _ => Ok(()),
        })
    }

    /// Puts the tokens around texts that `tokenizer_config.json` asks for.
    pub(super) fn put_around(
        &self,
        tokenizer: &mut tokenizers::Tokenizer,
        beside: &Beside,
    ) -> tokenizers::Result<()> {
        let end = |flag: &str, key: &str| {
            let token = self.named(key).filter(|_| beside.flag(flag).unwrap_or_default())?;
            Some((tokenizer.token_to_id(token)?, token))
        };
        let around =
            Around { before: end("add_bos_token", "bos_token"), after: end("add_eos_token", "eos_token") };
        if around.before.or(around.after).is_some() {
            let template = serde_json::from_value::<PostProcessorWrapper>(around.template())?;
            tokenizer.with_post_processor(Some(template));
        }
        Ok(())
    }

    fn special(&self) -> impl Iterator<Item = &Special> {
        self.named.iter().map(|(_, special)| special).chain(&self.listed)
    }
}

/// Returns the tokens that files give ids.
fn numbered(
    tokens: &Tokens,
    own: BTreeMap<u32, AddedToken>,
    settings: &IndexMap<String, Member>,
) -> BTreeMap<u32, AddedToken> {
    match tokens {
        Tokens::Decoder(tokens) => tokens.clone(),
        Tokens::Older { added, .. } => {
            let named = NAMED.iter().filter_map(|&key| Special::read(settings.get(key)?));
            let listed = settings.get(LIST).map(read_list).unwrap_or_default();
            let special: HashSet<String> =
                named.chain(listed).map(|special| special.text().to_owned()).collect();
            let token = |(token, id): (&String, &u32)| {
                (*id, AddedToken::from(token.as_str(), special.contains(token)))
            };
            added.iter().map(token).chain(own).collect()
        }
    }
}

/// Adds what `special_tokens_map.json` says to the settings. It comes before them, but two lists are joined.
fn merge(settings: &mut IndexMap<String, Member>, map: &IndexMap<String, Member>) {
    let special = |mut value: Value| {
        if let Value::Object(described) = &mut value {
            described.insert("special".to_owned(), Value::Bool(true));
        }
        value
    };
    let list = settings.shift_remove(LIST).and_then(|list| list.plain()?.as_array().cloned());
    let of_map = map.iter().map(|(key, value)| {
        let value = match value {
            Member::Other(Value::Array(more)) if key == LIST => {
                let more = more.iter().cloned().map(special);
                Member::Other(list.iter().flatten().cloned().chain(more).collect())
            }
            Member::Object(described) if key != LIST => {
                let mut described = described.clone();
                described.insert("special".to_owned(), Value::Bool(true));
                Member::Object(described)
            }
            other => other.clone(),
        };
        (key.to_owned(), value)
    });
    // A list of the settings counts unless the map has another.
    let own = list.iter().map(|list| (LIST.to_owned(), Member::Other(list.clone().into())));
    *settings = own.chain(std::mem::take(settings)).chain(of_map).collect();
}

/// Takes special tokens out of the settings that have names of the model's own.
fn take_names(settings: &mut IndexMap<String, Member>, names: &mut IndexMap<String, Special>) {
    match settings.shift_remove(LIST) {
        Some(Member::Object(named)) => {
            let named = named.into_iter().filter_map(|(name, token)| Some((name, Special::of(&token)?)));
            *names = std::mem::take(names).into_iter().chain(named).collect();
        }
        Some(list) => {
            settings.insert(LIST.to_owned(), list);
        }
        None => {}
    }
}

fn read_list(list: &Member) -> Vec<Special> {
    list.plain().and_then(Value::as_array).into_iter().flatten().filter_map(Special::of).collect()
}

fn is_empty(member: Option<&Member>) -> bool {
    match member {
        None | Some(Member::Other(Value::Null)) => true,
        Some(Member::Other(list)) => list.as_array().is_some_and(Vec::is_empty),
        Some(Member::Object(object)) => object.is_empty(),
    }
}
