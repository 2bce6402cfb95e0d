//! The tokens that stand in files of their own beside a vocabulary.

use std::{collections::BTreeMap, path::Path};

use serde_json::Value;
use tokenizers::AddedToken;

use super::limits;
use crate::checkpoint::read_text;

/// Adds the tokens of the `added_tokens.json` beside a file. Tokens that the other files there call special become so, and those of
/// `special` as well, as far as the vocabulary has them.
pub(super) fn add(
    tokenizer: &mut tokenizers::Tokenizer,
    vocabulary: &Path,
    special: &[&str],
) -> tokenizers::Result<()> {
    let beside = |name: &str| json(&vocabulary.with_file_name(name));
    let added: BTreeMap<String, u32> = match beside("added_tokens.json")? {
        None => BTreeMap::new(),
        Some(value) => serde_json::from_value(value)?,
    };
    limits::check_added(added.keys().map(String::as_str))?;
    let mut by_id: Vec<(u32, String)> = added.into_iter().map(|(token, id)| (id, token)).collect();
    by_id.sort_unstable();
    for (id, token) in by_id {
        tokenizer.add_tokens([AddedToken::from(token.clone(), false).normalized(false)])?;
        let found = tokenizer.token_to_id(&token);
        if found != Some(id) {
            let found = found.map_or_else(|| "no id".to_owned(), |found| format!("id {found}"));
            return Err(format!("added_tokens.json: token `{token}` has id {id}, expected {found}").into());
        }
    }
    let maps = [beside("special_tokens_map.json")?, beside("tokenizer_config.json")?];
    let named = maps.iter().flatten().flat_map(special_tokens);
    let mut special: Vec<String> = named.chain(special.iter().map(|&token| token.to_owned())).collect();
    special.retain(|token| tokenizer.token_to_id(token).is_some());
    tokenizer.add_special_tokens(special.into_iter().map(|token| AddedToken::from(token, true)))?;
    Ok(())
}

/// Reads a file of JSON. Returns `None` if there is no such file.
fn json(path: &Path) -> tokenizers::Result<Option<Value>> {
    if !path.exists() {
        return Ok(None);
    }
    let text = read_text(path)?;
    let value = serde_json::from_str(&text)
        .map_err(|error| format!("{}: {error}", path.file_name().unwrap_or_default().display()))?;
    Ok(Some(value))
}

/// Returns the tokens that a file calls special, as texts or as objects with a `content`.
fn special_tokens(map: &Value) -> Vec<String> {
    const KINDS: [&str; 4] = ["bos_token", "eos_token", "unk_token", "pad_token"];
    let content =
        |value: &Value| value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned);
    KINDS.iter().filter_map(|kind| content(map.get(kind)?)).collect()
}
