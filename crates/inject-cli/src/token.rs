//! Tokens in tables and sentences.

use inject_sipit::models::Model;

/// Returns a token as the vocabulary writes it, with `?` for control characters. Without a tokenizer it is the id.
pub(crate) fn printable(model: &Model, id: u32) -> String {
    let text = model.tokenizer().ok().and_then(|tokenizer| tokenizer.token(id));
    text.unwrap_or_else(|| id.to_string()).chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
