//! Byte-level BPE: the tokenizers of GPT-2, Llama 3, SmolLM2, Qwen and Phi-4.

use serde_json::json;
use tokenizers::models::bpe::BPE;

use super::{Parts, Vocabulary};
use crate::{
    error::ModelError,
    tokenizer::{
        cuts::{Cuts, GPT4O, LLAMA3, QWEN2, TEKKEN},
        limits::Merges,
        pieces::Algorithm,
    },
};

/// The way in which text is cut before merging.
///
/// # Source
///
/// The `tokenizer.json` of the models. github.com/ggml-org/llama.cpp, `src/llama-vocab.cpp`
/// (`llm_tokenizer_bpe`), lists the same expressions by the names below. BOS and merges are as in its `llama_vocab::impl::load`.
struct Cutting {
    /// The values of `tokenizer.ggml.pre`.
    names: &'static [&'static str],
    cuts: Cuts,
    begins_with_bos: bool,
    /// Whether a piece that is a token is not merged.
    ignore_merges: bool,
}

const CUTTINGS: [Cutting; 7] = [
    Cutting {
        names: &[
            "gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "a.x-4.0", "mellum", "exaone4", "jais",
            "olmo", "mpt",
        ],
        cuts: Cuts::Gpt2 { normal: None },
        begins_with_bos: false,
        ignore_merges: false,
    },
    Cutting {
        names: &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"],
        cuts: Cuts::DigitsThenGpt2,
        begins_with_bos: false,
        ignore_merges: false,
    },
    Cutting {
        names: &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"],
        cuts: Cuts::Expression { normal: None, expression: LLAMA3 },
        begins_with_bos: true,
        ignore_merges: true,
    },
    Cutting {
        names: &["dbrx", "smaug-bpe"],
        cuts: Cuts::Expression { normal: None, expression: LLAMA3 },
        begins_with_bos: false,
        ignore_merges: false,
    },
    Cutting {
        names: &["qwen2", "stablelm2", "megrez", "deepseek-r1-qwen"],
        cuts: Cuts::Expression { normal: Some("NFC"), expression: QWEN2 },
        begins_with_bos: false,
        ignore_merges: false,
    },
    Cutting {
        names: &["gpt-4o", "llama4", "kanana2"],
        cuts: Cuts::Expression { normal: None, expression: GPT4O },
        begins_with_bos: false,
        ignore_merges: false,
    },
    Cutting {
        names: &["tekken"],
        cuts: Cuts::Expression { normal: None, expression: TEKKEN },
        begins_with_bos: true,
        ignore_merges: true,
    },
];

/// Returns the parts of the tokenizer, and whether texts begin with BOS if the file does not say.
pub(super) fn parts(vocabulary: &Vocabulary<'_>) -> Result<(Parts, bool), ModelError> {
    const KEY: &str = "tokenizer.ggml.pre";
    let gguf = vocabulary.gguf;
    let known = || CUTTINGS.iter().flat_map(|cutting| cutting.names).copied().collect::<Vec<_>>().join(", ");
    let Some(name) = gguf.text(KEY)? else {
        return Err(ModelError::missing_key(&gguf.path, KEY, &known()));
    };
    let Some(cutting) = CUTTINGS.iter().find(|cutting| cutting.names.contains(&name)) else {
        return Err(gguf.bad(KEY, &format!("{name:?}"), &format!("one of {}", known())));
    };
    let merges = merges(vocabulary)?;
    let model =
        BPE::builder().vocab_and_merges(vocabulary.table()?, merges).ignore_merges(cutting.ignore_merges);
    let (normalizer, pre_tokenizer) = cutting.cuts.describe(false);
    let parts = Parts {
        algorithm: Algorithm::Bpe(Box::new(model)),
        normalizer,
        pre_tokenizer: Some(pre_tokenizer),
        decoder: json!({ "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true }),
    };
    Ok((parts, cutting.begins_with_bos))
}

/// The merges, each as its two parts.
fn merges(vocabulary: &Vocabulary<'_>) -> Result<Vec<(String, String)>, ModelError> {
    const KEY: &str = "tokenizer.ggml.merges";
    let gguf = vocabulary.gguf;
    let mut merges = Merges::default();
    for merge in gguf.texts(KEY)? {
        // A part may begin with a space, but is never empty.
        let begin = merge.char_indices().nth(1).map_or(0, |(begin, _)| begin);
        let Some(space) = merge[begin..].find(' ') else {
            return Err(gguf.bad(KEY, &format!("{merge:?}"), "two tokens with a space between"));
        };
        let (first, second) = merge.split_at(begin + space);
        merges.push(first, &second[1..]).map_err(|limit| gguf.refused(limit))?;
    }
    Ok(merges.into_pairs())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value as Json;
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, PreTokenizerWrapper};

    use super::*;

    #[test]
    fn names_that_mean_the_same_are_known_once() {
        let mut names: Vec<&str> = CUTTINGS.iter().flat_map(|cutting| cutting.names).copied().collect();
        names.sort_unstable();
        let listed = names.len();
        names.dedup();
        assert_eq!(names.len(), listed);
        for (name, other) in
            [("exaone4", "gpt-2"), ("minerva-7b", "smollm"), ("pixtral", "llama-bpe"), ("llama4", "gpt-4o")]
        {
            let of = |name: &str| CUTTINGS.iter().position(|cutting| cutting.names.contains(&name)).unwrap();
            assert_eq!(of(name), of(other), "{name}");
        }
    }

    /// The expected pieces are those of another engine of expressions.
    #[test]
    fn texts_are_cut_as_the_published_expressions_cut_them() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gguf/cuts.json");
        let mut cuts: BTreeMap<String, Json> = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        let texts: Vec<String> = serde_json::from_value(cuts.remove("texts").unwrap()).unwrap();
        let of = |name: &str| CUTTINGS.iter().find(|cutting| cutting.names.contains(&name)).unwrap();
        let tested: Vec<_> = cuts.keys().map(|name| of(name).cuts.describe(false)).collect();
        assert!(CUTTINGS.iter().all(|cutting| tested.contains(&cutting.cuts.describe(false))));
        for (name, expected) in cuts {
            let expected: Vec<Vec<String>> = serde_json::from_value(expected).unwrap();
            let (_, description) = of(&name).cuts.describe(false);
            let pre_tokenizer: PreTokenizerWrapper = serde_json::from_value(description).unwrap();
            for (text, expected) in texts.iter().zip(expected) {
                let mut string = PreTokenizedString::from(text.as_str());
                pre_tokenizer.pre_tokenize(&mut string).unwrap();
                let pieces = string.get_splits(OffsetReferential::Original, OffsetType::Byte);
                let found: Vec<&str> =
                    pieces.iter().map(|(_, (begin, end), _)| &text[*begin..*end]).collect();
                assert_eq!(found, expected, "{name}");
            }
        }
    }
}
