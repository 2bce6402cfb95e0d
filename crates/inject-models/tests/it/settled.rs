//! The tokens of a text that no continuation changes.

use inject_models::{Bos, Model, Tokenizer};

use crate::{fixture, malformed::Checkpoint};

const TEXTS: [&str; 12] = [
    "",
    " ",
    "user: ",
    "Once upon a time ",
    "the end of the",
    "the antidisest",
    "a b  \n ",
    "first line\n",
    "It's 12",
    "caf\u{e9} \u{65e5}\u{672c}",
    "[INST] say",
    "x = {\n    ",
];

fn models() -> Vec<(String, Model)> {
    let plain = || Checkpoint::copy_of("llama").with_key("vocab_size", 500).with_rows(500).load().unwrap();
    let places = ["sentence-piece/gemma.model", "sentence-piece/llama.model", "sentence-piece/unigram.model"];
    let places = places.into_iter().chain(["byte-level/tokenizer.json", "tokenizer-json/spaces.json"]);
    let with = |place: &str| (place.to_owned(), plain().with_tokenizer(&fixture::folder(place)).unwrap());
    places.map(with).collect()
}

/// Each token of the vocabulary as a text, and longer ones.
fn continuations(tokenizer: &Tokenizer) -> Vec<String> {
    let tokens = (0..tokenizer.vocab_size() as u32).filter_map(|id| tokenizer.decode(&[id]).ok());
    let longer = ["ablishment of", "  x", "\n\nSystem", "s are", "'s.", "\u{301}a", "12345"];
    tokens.chain(longer.map(str::to_owned)).collect()
}

#[test]
fn settled_tokens_begin_every_continuation() {
    let mut useful = Vec::new();
    for (place, model) in models() {
        let tokenizer = model.tokenizer().unwrap();
        let (mut kept, mut changed) = (0, 0);
        for text in TEXTS {
            let ids = tokenizer.encode(text, Bos::No).unwrap();
            let settled = tokenizer.settled(text, Bos::No).unwrap();
            kept += settled;
            for more in continuations(tokenizer) {
                let longer = tokenizer.encode(&format!("{text}{more}"), Bos::No).unwrap();
                assert!(longer.starts_with(&ids[..settled]), "{place}: {text:?} and {more:?}");
                changed += usize::from(!longer.starts_with(&ids));
            }
        }
        // Otherwise none or every token would be settled.
        if kept > 4 && changed > 4 {
            useful.push(place);
        }
    }
    // The fixture of a unigram model shows neither.
    assert!(useful.len() > 2, "{useful:?}");
}
