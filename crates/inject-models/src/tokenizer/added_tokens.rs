//! The tokens that stand in files of their own beside a vocabulary.

use std::{collections::BTreeMap, fs, path::Path};

use serde_json::Value;
use tokenizers::AddedToken;

/// Adds the tokens of the `added_tokens.json` beside a file. Tokens that the other files there call special become so, and those of
/// `special` as well, as far as the vocabulary has them.
pub(super) fn add(
    tokenizer: &mut tokenizers::Tokenizer,
    vocabulary: &Path,
    special: &[&str],
) -> tokenizers::Result<()> {
    let beside = |name: &str| -> Option<Value> {
        serde_json::from_str(&fs::read_to_string(vocabulary.with_file_name(name)).ok()?).ok()
    };
    let added: BTreeMap<String, u32> = match beside("added_tokens.json") {
        None => BTreeMap::new(),
        Some(value) => serde_json::from_value(value)?,
    };
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
    let maps = ["special_tokens_map.json", "tokenizer_config.json"].map(beside);
    let named = maps.iter().flatten().flat_map(special_tokens);
    let mut special: Vec<String> = named.chain(special.iter().map(|&token| token.to_owned())).collect();
    special.retain(|token| tokenizer.token_to_id(token).is_some());
    tokenizer.add_special_tokens(special.into_iter().map(|token| AddedToken::from(token, true)))?;
    Ok(())
}

/// Returns the tokens that a file calls special, as texts or as objects with a `content`.
fn special_tokens(map: &Value) -> Vec<String> {
    const KINDS: [&str; 4] = ["bos_token", "eos_token", "unk_token", "pad_token"];
    let content =
        |value: &Value| value.as_str().or_else(|| value.get("content")?.as_str()).map(str::to_owned);
    KINDS.iter().filter_map(|kind| content(map.get(kind)?)).collect()
}
