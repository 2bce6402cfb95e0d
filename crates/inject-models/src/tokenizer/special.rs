//! A special token as the files beside a tokenizer describe it.

use serde_json::Value;
use tokenizers::AddedToken;

use super::{beside::Described, member::Member};

/// A special token by its text alone, or with its settings.
#[derive(Clone)]
pub(super) enum Special {
    Text(String),
    Token(AddedToken),
}

impl Special {
    pub(super) fn read(member: &Member) -> Option<Self> {
        match member {
            Member::Object(_) => Special::of(&member.clone().into()),
            Member::Other(value) => Special::of(value),
        }
    }

    pub(super) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Special::Text(text.clone())),
            Value::Object(_) => {
                Some(Special::Token(serde_json::from_value::<Described>(value.clone()).ok()?.into()))
            }
            _ => None,
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Special::Text(text) => text,
            Special::Token(token) => &token.content,
        }
    }

    pub(super) fn token(&self) -> AddedToken {
        match self {
            Special::Text(text) => AddedToken::from(text.as_str(), true),
            Special::Token(token) => token.clone(),
        }
    }
}
