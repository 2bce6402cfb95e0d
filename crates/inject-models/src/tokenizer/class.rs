//! The classes of Hugging Face transformers that read a tokenizer.

use serde_json::{Value, json};

use super::{
    added_tokens::{AddedTokens, Defaults},
    beside::Beside,
    cuts::{Cuts, QWEN2},
    pieces::{SPACE, spaces_for_signs},
};
use crate::{
    families::{Family, family_of},
    note::Note,
};

/// The class that transformers 5 reads a tokenizer with. All but [`Class::Plain`] put parts of their own in place of those of the
/// tokenizer's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// `TokenizersBackend`, which follows the file.
    Plain,
    Gpt2,
    GptNeoX,
    Qwen2,
    Llama,
    Gemma,
    /// A class whose parts are not known here, by name.
    Other(String),
}

/// The parts that a class puts in place of those of a tokenizer's file, as a `tokenizer.json` describes them.
pub(super) struct OwnParts {
    pub(super) normalizer: Option<Value>,
    pub(super) pre_tokenizer: Value,
    pub(super) decoder: Value,
    /// Whether signs that are not in the vocabulary become bytes.
    pub(super) byte_fallback: bool,
    /// Whether the file's `post_processor` counts.
    pub(super) keeps_ends: bool,
}

impl Class {
    /// Returns the class for a tokenizer with other files beside it. `is_byte_level` says whether it is a `tokenizer.json` of that
    /// kind.
    ///
    /// # Source
    ///
    /// Hugging Face transformers 5.24, `models/auto/tokenization_auto.py` (`AutoTokenizer.from_pretrained`).
    pub(super) fn of(beside: &Beside, is_byte_level: bool) -> Self {
        let model_type = beside.model_type.as_deref().unwrap_or_default();
        let usual = family_of(model_type).and_then(|family| match family {
            Family::Gpt2 | Family::GptNeo => Some(Class::Gpt2),
            Family::GptNeoX => Some(Class::GptNeoX),
            Family::Qwen2 | Family::Qwen3 => Some(Class::Qwen2),
            Family::Gemma2 | Family::Gemma3 => Some(Class::Gemma),
            Family::Mistral | Family::Phi3 | Family::Olmo2 => Some(Class::Plain),
            // Their files decide.
            Family::Llama | Family::SmolLm3 => None,
        });
        // transformers does not trust the class that the files of these models name.
        let is_misnamed = matches!(model_type, "qwen2" | "phi3");
        let named = beside.class().map(Class::named);
        if beside.own_code().is_some() {
            // Where its code is not trusted, transformers takes the class that the files name, whatever it is.
            return named.or(usual).unwrap_or(Class::Plain);
        }
        match (named, usual) {
            (Some(Class::Llama), _) if is_byte_level && !is_misnamed => Class::Plain,
            (_, Some(Class::Plain)) => Class::Plain,
            (Some(_), Some(usual)) if is_misnamed => usual,
            (Some(named), _) => named,
            (None, usual) => usual.unwrap_or(Class::Plain),
        }
    }

    fn named(name: &str) -> Self {
        match name.strip_suffix("Fast").unwrap_or(name) {
            "TokenizersBackend" | "PythonBackend" | "PreTrainedTokenizer" => Class::Plain,
            "GPT2Tokenizer" => Class::Gpt2,
            "GPTNeoXTokenizer" => Class::GptNeoX,
            "Qwen2Tokenizer" => Class::Qwen2,
            "LlamaTokenizer" => Class::Llama,
            "GemmaTokenizer" => Class::Gemma,
            other => Class::Other(other.to_owned()),
        }
    }

    /// The name in transformers.
    pub(super) fn name(&self) -> &str {
        match self {
            Class::Plain => "TokenizersBackend",
            Class::Gpt2 => "GPT2Tokenizer",
            Class::GptNeoX => "GPTNeoXTokenizer",
            Class::Qwen2 => "Qwen2Tokenizer",
            Class::Llama => "LlamaTokenizer",
            Class::Gemma => "GemmaTokenizer",
            Class::Other(name) => name,
        }
    }

    /// Notes that the class may give other ids than the tokenizer's own file. Code of its own has another note.
    pub(super) fn may_differ(&self, beside: &Beside) -> Option<Note> {
        let differs = *self != Class::Plain && beside.own_code().is_none();
        differs.then(|| Note::OtherTokenizerClass { class: self.name().to_owned() })
    }

    /// Returns the cuts of a byte-level class.
    pub(super) fn cuts(&self) -> Option<Cuts> {
        match self {
            Class::Gpt2 => Some(Cuts::Gpt2 { normal: None }),
            Class::GptNeoX => Some(Cuts::Gpt2 { normal: Some("NFC") }),
            Class::Qwen2 => Some(Cuts::Expression { normal: Some("NFC"), expression: QWEN2 }),
            Class::Plain | Class::Llama | Class::Gemma | Class::Other(_) => None,
        }
    }

    /// Returns the parts that the class has with the settings beside a tokenizer. `None` if they are those of the tokenizer's file, or
    /// not known.
    ///
    /// # Source
    ///
    /// Hugging Face transformers 5.24, `tokenization_gpt2.py`, `tokenization_gpt_neox.py`, `tokenization_qwen2.py`,
    /// `tokenization_llama.py` and `tokenization_gemma.py`.
    pub(super) fn own_parts(&self, beside: &Beside) -> Option<OwnParts> {
        let first_space = beside.flag("add_prefix_space");
        if let Some(cuts) = self.cuts() {
            let (normalizer, pre_tokenizer) = cuts.describe(first_space.unwrap_or(false));
            let decoder = json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true });
            let keeps_ends = *self != Class::GptNeoX;
            return Some(OwnParts { normalizer, pre_tokenizer, decoder, byte_fallback: false, keeps_ends });
        }
        let (normalizer, pre_tokenizer, begins_with_space) = match self {
            Class::Llama => {
                let begins_with_space = first_space.unwrap_or(true);
                let scheme = match (begins_with_space, beside.flag("legacy").unwrap_or(false)) {
                    (false, _) => "never",
                    (true, true) => "always",
                    (true, false) => "first",
                };
                let cut = json!({ "type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": false });
                (None, cut, begins_with_space)
            }
            Class::Gemma => {
                let signs = json!({ "type": "Replace", "pattern": { "String": " " }, "content": SPACE });
                let cut = json!({ "type": "Split", "pattern": { "String": " " }, "behavior": "MergedWithPrevious", "invert": false });
                (Some(signs), cut, false)
            }
            _ => return None,
        };
        let decoder = spaces_for_signs(begins_with_space);
        Some(OwnParts { normalizer, pre_tokenizer, decoder, byte_fallback: true, keeps_ends: true })
    }

    /// Returns the token for signs that the vocabulary does not have, if the class puts its own in place of the model's.
    pub(super) fn unknown<'a>(&self, special: &'a AddedTokens) -> Option<&'a str> {
        // The class takes `str` of it, so `null` is a token of this name.
        (*self == Class::Gemma).then(|| special.named("unk_token").unwrap_or("None"))
    }

    /// Returns the special tokens that the class has if the files do not name others, by their keys.
    pub(super) fn special_tokens(&self) -> Defaults<'static> {
        const END: &str = "<|endoftext|>";
        match self {
            Class::Plain | Class::Other(_) => &[],
            Class::Gpt2 => &[("unk_token", END), ("bos_token", END), ("eos_token", END)],
            Class::GptNeoX => {
                &[("unk_token", END), ("bos_token", END), ("eos_token", END), ("pad_token", "<|padding|>")]
            }
            Class::Qwen2 => &[("unk_token", END), ("eos_token", END), ("pad_token", END)],
            Class::Llama => &[("unk_token", "<unk>"), ("bos_token", "<s>"), ("eos_token", "</s>")],
            Class::Gemma => &[
                ("unk_token", "<unk>"),
                ("bos_token", "<bos>"),
                ("eos_token", "<eos>"),
                ("pad_token", "<pad>"),
                ("mask_token", "<mask>"),
            ],
        }
    }
}
