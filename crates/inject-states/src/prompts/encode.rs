//! Texts as token ids, many at a time.

use std::collections::VecDeque;

use inject_models::{Bos, ModelError, Tokenizer};
use rayon::prelude::*;

/// The texts that are encoded at a time: so many, and not many more bytes.
const TOGETHER: usize = 4096;
const BYTES: usize = 4 << 20;

/// Encodes texts in their order, a few thousand at a time on all cores. Ends after the first error.
///
/// # Errors
///
/// An item is an error if the text is one, or if the tokenizer refuses it.
pub fn encode<'a, E>(
    texts: impl Iterator<Item = Result<String, E>> + 'a,
    tokenizer: &'a Tokenizer,
    bos: Bos,
) -> impl Iterator<Item = Result<Vec<u32>, E>> + 'a
where
    E: From<ModelError> + 'a,
{
    let mut texts = texts.fuse();
    let mut encoded: VecDeque<Result<Vec<u32>, E>> = VecDeque::new();
    let next = move || {
        if encoded.is_empty() {
            let (next, failed) = next_texts(&mut texts);
            let ids: Vec<_> = next.into_par_iter().map(|text| tokenizer.encode(&text, bos)).collect();
            encoded.extend(ids.into_iter().map(|ids| ids.map_err(E::from)).chain(failed.map(Err)));
        }
        encoded.pop_front()
    };
    let mut failed = false;
    std::iter::from_fn(next).take_while(move |ids| !std::mem::replace(&mut failed, ids.is_err()))
}

/// Returns the next texts, and the error after them.
fn next_texts<E>(texts: &mut impl Iterator<Item = Result<String, E>>) -> (Vec<String>, Option<E>) {
    let (mut next, mut bytes) = (Vec::new(), 0);
    while next.len() < TOGETHER && bytes < BYTES {
        match texts.next() {
            Some(Ok(text)) => {
                bytes += text.len();
                next.push(text);
            }
            Some(Err(error)) => return (next, Some(error)),
            None => break,
        }
    }
    (next, None)
}

#[cfg(test)]
mod tests {
    use inject_models::{FloatFormat, Model, Origin};

    use super::*;

    #[test]
    fn texts_are_encoded_in_their_order_up_to_the_first_error() {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../inject-cli/model");
        let device = inject_testing::any_device();
        let model = Model::load(Origin::of_folder(&folder), FloatFormat::F32, &device).unwrap();
        let tokenizer = model.tokenizer().unwrap();
        let texts: Vec<String> = (0..2 * TOGETHER + 9).map(|i| format!("text {i}")).collect();
        let expected: Vec<Vec<u32>> =
            texts.iter().map(|text| tokenizer.encode(text, Bos::Auto).unwrap()).collect();
        let whole = encode(texts.iter().cloned().map(Ok::<_, ModelError>), tokenizer, Bos::Auto);
        assert_eq!(whole.collect::<Result<Vec<_>, _>>().unwrap(), expected);

        let bad = || Err(ModelError::UnknownBos { found: "?".to_owned() });
        let with_errors = texts.iter().cloned().map(Ok).take(5000).chain([bad(), bad()]);
        let found: Vec<_> =
            encode(with_errors.chain(texts.iter().cloned().map(Ok)), tokenizer, Bos::Auto).collect();
        assert_eq!(found.len(), 5001);
        assert!(matches!(found[5000], Err(ModelError::UnknownBos { .. })), "{:?}", found[5000]);
        assert!(
            found.into_iter().zip(&expected).take(5000).all(|(found, expected)| found.unwrap() == *expected)
        );
    }
}
