//! Facts that a user should know about a model that loads in spite of them.

use std::{error::Error, fmt, iter};

/// A fact about a checkpoint that does not prevent its use.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Note {
    /// The Hub gave no usable answer, so its cache stood in for it. A branch or tag may stand for another commit by now, and the commit may
    /// have files that the cache does not hold.
    FromCache {
        /// The commit that is used.
        commit: String,
        /// The error of the Hub, on one line.
        reason: String,
    },
    /// Keys of the config that neither this crate nor Hugging Face transformers reads.
    UnreadKeys {
        /// The keys, with dots for nesting.
        keys: Vec<String>,
    },
    /// With this config the last of transformers' `hidden_states` is the state before the final norm. The taps have names of their own,
    /// so their states are the same.
    LastState,
    /// The config has no `model_type`, and the family follows from something else.
    FamilyGuessed {
        /// The `model_type` that it is taken to have.
        model_type: &'static str,
        /// The part of the config from which the family follows.
        evidence: Evidence,
    },
    /// The names of the tensors had those of wrappers in them, or something stands beside the model.
    Unwrapped {
        /// The names of the wrappers.
        wrappers: Vec<&'static str>,
        /// The contents beside the model that are not read, such as the state of an optimiser.
        left_out: Vec<String>,
    },
    /// The config has a `quantization_config` that quantises no weights, and they are plain numbers.
    NothingQuantised {
        /// The value of `quant_method` in the config.
        method: String,
    },
    /// Tensors are stored in FP8 and have no scales, as after a cast. They are read as they are, as in transformers.
    Float8WithoutScales {
        /// The number of these tensors.
        count: usize,
    },
    /// The checkpoint has no head.
    NoHead,
    /// The config ties the head to the embedding, and another head is stored.
    OtherHead {
        /// Name of the stored head's tensor.
        tensor: String,
    },
    /// The tokenizer has tokens that the model does not have. A text with one of them cannot be encoded.
    TokensBeyond {
        /// The number of these tokens.
        count: usize,
        /// The first of these tokens, as text.
        token: String,
        /// The id of the first token.
        id: u32,
        /// The rows of the embedding.
        vocab_size: usize,
    },
    /// The model's tokenizer cannot be used. Token ids can.
    UnusableTokenizer {
        /// The reason, on one line.
        reason: String,
    },
    /// The `bos_token_id` of the config is not a token of the model. It is ignored.
    BosOutside {
        /// The key in the file.
        key: String,
        /// The id that the config has.
        found: i64,
        /// The rows of the embedding.
        vocab_size: usize,
    },
    /// `tokenizer_config.json` and the tokenizer differ about BOS. The tokenizer is followed.
    OtherBos {
        /// Whether the tokenizer puts BOS before a text.
        added: bool,
    },
    /// The class that transformers reads the tokenizer with has parts of its own in place of those of `tokenizer.json`. They are
    /// followed.
    PartsReplaced {
        /// The name of the class in transformers.
        class: String,
        /// The parts of `tokenizer.json` that do not count.
        parts: Vec<&'static str>,
    },
    /// The tokenizer is read as its file says, and transformers may read it with a class that does not follow all of it.
    OtherTokenizerClass {
        /// The name of the class in transformers.
        class: String,
    },
    /// The tokenizer has a class in code of its own (`auto_map`), which is not run. It is read as transformers reads it where that code is
    /// not trusted.
    OwnTokenizerCode {
        /// The class, as `module.Class`.
        class: String,
    },
    /// An adapter has factors of modules that its settings do not select. They do not change, as in PEFT.
    UnselectedModules {
        /// The paths of these modules.
        modules: Vec<String>,
    },
    /// The folder of an adapter has folders of other ones in it, which are not used.
    OtherAdapters {
        /// Names of these folders.
        folders: Vec<String>,
    },
    /// An adapter changes the embedding or the head, which the model ties. Each changes by itself, as while PEFT runs the adapter.
    ChangedApart {
        /// The paths of the changed ones.
        modules: Vec<String>,
    },
    /// An adapter lies beside the model and is not applied.
    AdapterBeside {
        /// The model that it was made for, if it names one.
        base: Option<String>,
    },
}

/// The reason for which a config without `model_type` belongs to a family.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Evidence {
    /// A name among its `architectures`.
    Architecture(String),
    /// Keys that no other family has.
    Keys,
}

impl Note {
    /// Notes an error of reading the model's tokenizer, with its causes.
    pub(crate) fn unusable_tokenizer(error: &dyn Error) -> Self {
        Note::UnusableTokenizer { reason: causes(error) }
    }
}

/// An error and its causes on one line. Messages of the tokenizers library may have several.
pub(crate) fn causes(error: &dyn Error) -> String {
    let causes = iter::successors(Some(error), |error| (*error).source()).map(ToString::to_string);
    causes.collect::<Vec<_>>().join(": ").split_whitespace().collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Note::FromCache { commit, reason } => write!(
                f,
                "commit {commit} is used, which the cache has, because the Hub gave no usable answer: {reason}"
            ),
            Note::UnreadKeys { keys } => {
                write!(f, "config.json: keys that transformers does not read either: {}", keys.join(", "))
            }
            Note::LastState => f.write_str(
                "config.json: tie_last_hidden_states is false: the last of transformers' hidden_states is that of the last block, and \
                 not `final-norm`",
            ),
            Note::Unwrapped { wrappers, left_out } if wrappers.is_empty() => {
                write!(f, "not read beside the model's tensors: {}", left_out.join(", "))
            }
            Note::Unwrapped { wrappers, left_out } => {
                write!(f, "tensors are read without the names of wrappers: {}", wrappers.join(", "))?;
                match left_out.as_slice() {
                    [] => Ok(()),
                    left_out => write!(f, "; not read: {}", left_out.join(", ")),
                }
            }
            Note::NothingQuantised { method } => write!(
                f,
                "config.json: quantization_config ({method}) quantises no weights: they are read as they are stored"
            ),
            Note::Float8WithoutScales { count } => {
                let (s, are) = if *count == 1 { ("", "is") } else { ("s", "are") };
                write!(f, "{count} tensor{s} in FP8 without scales {are} read as plain numbers, as in transformers")
            }
            Note::NoHead => {
                f.write_str("the checkpoint has no head: states are computed, the model's expectation of the next token is not")
            }
            Note::OtherHead { tensor } => write!(
                f,
                "`{tensor}` is not the embedding, although config.json ties the head to it (tie_word_embeddings): it is used, as in \
                 transformers 5"
            ),
            Note::TokensBeyond { count, token, id, vocab_size } => {
                let s = if *count == 1 { "" } else { "s" };
                write!(
                    f,
                    "the tokenizer has {count} token{s} beyond the model's {vocab_size}, from `{token}` (id {id}) on: a text \
                     cannot have them"
                )
            }
            Note::UnusableTokenizer { reason } => write!(
                f,
                "the tokenizer cannot be used, so give token ids or another tokenizer (`--tokenizer`): {reason}"
            ),
            Note::BosOutside { key, found, vocab_size } => write!(
                f,
                "key `{key}` is {found}, which is none of the {vocab_size} tokens of the model: it has no BOS token"
            ),
            Note::OtherBos { added } => {
                let (does, says) = if *added { ("begin", "false") } else { ("do not begin", "true") };
                write!(
                    f,
                    "texts {does} with BOS, as the tokenizer itself says, although tokenizer_config.json has add_bos_token {says}"
                )
            }
            Note::PartsReplaced { class, parts } => write!(
                f,
                "texts have the ids that transformers' {class} gives them, which does not follow tokenizer.json in: {}",
                parts.join(", ")
            ),
            Note::OtherTokenizerClass { class } => write!(
                f,
                "texts have the ids that the tokenizer's own file gives them; those of transformers' {class} may be others"
            ),
            Note::OwnTokenizerCode { class } => write!(
                f,
                "tokenizer_config.json names code of the tokenizer's own (auto_map: {class}), which is not run: texts have the ids that its \
                 files give them"
            ),
            Note::UnselectedModules { modules } => {
                f.write_str("the adapter's tensors of ")?;
                match modules.as_slice() {
                    [first, _, ..] => write!(f, "{} modules such as `{first}`", modules.len())?,
                    one => f.write_str(&one.concat())?,
                }
                f.write_str(" are passed over, as in PEFT, because adapter_config.json does not select these modules")
            }
            Note::OtherAdapters { folders } => write!(
                f,
                "the adapter in the folder itself (`default`, as PEFT calls it) is used, and not those in folders of their own: {}",
                folders.join(", ")
            ),
            Note::ChangedApart { modules } => write!(
                f,
                "the model ties embedding and head, and the adapter's changes of {} are kept apart, as PEFT computes with them; its \
                 `merge_and_unload` adds all of them to both",
                modules.iter().map(|module| format!("`{module}`")).collect::<Vec<_>>().join(" and ")
            ),
            Note::AdapterBeside { base } => {
                f.write_str("an adapter lies in the folder and is not applied")?;
                base.as_ref().map_or(Ok(()), |base| write!(f, " (it was made for `{base}`)"))
            }
            Note::FamilyGuessed { model_type, evidence } => {
                write!(f, "config.json has no model_type, taken for `{model_type}` because of its ")?;
                match evidence {
                    Evidence::Architecture(class) => write!(f, "architecture {class}"),
                    Evidence::Keys => f.write_str("keys"),
                }
            }
        }
    }
}
