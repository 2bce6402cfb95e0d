//! One share of the passes over the vocabulary, on disk until all of them are there.

use std::{
    cmp::Reverse,
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
};

use safetensors::Dtype;

use super::LensError;
use crate::{
    error::InvertError,
    models::Tap,
    states::{Share, ShareResult},
    tensor_file::{self, Stored, TensorFile, TensorFileError},
};

/// The name of the text that gives the version of the layout.
const KIND: &str = "inject.lens-share";
/// The version of the layout.
const VERSION: &str = "1";

/// The points of some tokens at some taps: the result of one share of the passes that make lenses.
///
/// [`LensBuilder::build_share`](super::LensBuilder::build_share) makes it, and
/// [`LensBuilder::build_from`](super::LensBuilder::build_from) makes lenses of all shares.
#[derive(Clone, Debug, PartialEq)]
pub struct LensShare {
    pub(super) share: Share,
    /// The tokens whose points it holds.
    pub(super) tokens: Range<usize>,
    /// The identity of everything that the points depend on.
    pub(super) job: String,
    pub(super) points: BTreeMap<Tap, TokenPoints>,
    /// The file that it was read from.
    path: PathBuf,
}

/// The points of some tokens at one tap.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct TokenPoints {
    /// The points for later positions, `[token, rank]` row-major.
    pub(super) later: Vec<f32>,
    /// The same for the first position, unless every prompt begins with one token.
    pub(super) first: Option<Vec<f32>>,
}

impl TokenPoints {
    /// Adds the points of the tokens that follow.
    pub(super) fn extend(&mut self, more: TokenPoints) {
        self.later.extend(more.later);
        if let Some(more) = more.first {
            self.first.get_or_insert_default().extend(more);
        }
    }
}

impl LensShare {
    pub(super) fn new(
        share: Share,
        tokens: Range<usize>,
        job: String,
        points: BTreeMap<Tap, TokenPoints>,
    ) -> Self {
        let path = Self::file_name(share).into();
        LensShare { share, tokens, job, points, path }
    }

    /// Returns the name of the file of a share, such as `lens-share-2-of-7.safetensors`.
    pub fn file_name(share: Share) -> String {
        format!("lens-share-{}-of-{}.safetensors", share.number() + 1, share.of())
    }

    /// Returns the share of the vocabulary that this file holds.
    pub fn share(&self) -> Share {
        self.share
    }

    /// Its place among the shares, whose pieces are the tokens of the vocabulary.
    pub(super) fn result(&self) -> ShareResult {
        ShareResult::new(self.path.clone(), self.share, self.tokens.clone())
    }

    /// Writes the share into a folder, under [`LensShare::file_name`]. An existing file is replaced in one step. The same share gives
    /// the same bytes.
    ///
    /// # Errors
    ///
    /// [`LensError::File`] if the file cannot be written, or another process is writing it.
    pub fn save(&self, folder: &Path) -> Result<PathBuf, InvertError> {
        let path = folder.join(Self::file_name(self.share));
        let count = self.tokens.len();
        let stored = |name: String, points: &[f32]| Stored {
            name,
            shape: vec![count, points.len() / count.max(1)],
            dtype: Dtype::F32,
            bytes: points.iter().flat_map(|value| value.to_le_bytes()).collect(),
        };
        let mut all = Vec::new();
        // A share of no tokens has no tensors.
        for (tap, points) in self.points.iter().filter(|_| count > 0) {
            all.push(stored(tap.to_string(), &points.later));
            all.extend(points.first.as_ref().map(|first| stored(format!("first.{tap}"), first)));
        }
        all.sort_by_key(|stored| Reverse(stored.dtype));
        let metadata = [
            (KIND, VERSION.to_owned()),
            ("share", self.share.to_string()),
            ("job", self.job.clone()),
            ("first_token", self.tokens.start.to_string()),
            ("tokens", count.to_string()),
        ];
        tensor_file::write(&path, metadata.into(), &all).map_err(LensError::from)?;
        Ok(path)
    }

    /// Reads a share.
    ///
    /// # Errors
    ///
    /// [`LensError`] if the file cannot be read, is not a share, or is damaged.
    pub fn load(path: &Path) -> Result<Self, InvertError> {
        Ok(Self::read(path).map_err(LensError::from)?)
    }

    fn read(path: &Path) -> Result<Self, TensorFileError> {
        let file = TensorFile::open(path, None)?.expect_version(KIND, VERSION)?.verified()?;
        let number = |name: &str| {
            let found = file.text(name)?;
            found.parse::<usize>().map_err(|_| file.wrong(format!("{name} is {found}, expected a number")))
        };
        let share: Share = file.text("share")?.parse().map_err(|error| file.wrong(format!("{error}")))?;
        let (first, count) = (number("first_token")?, number("tokens")?);
        let end = first.checked_add(count).ok_or_else(|| file.wrong(format!("tokens is {count}")))?;
        let mut points: BTreeMap<Tap, TokenPoints> = BTreeMap::new();
        for name in file.tensors().keys() {
            let (values, _) = file.matrix(name, Dtype::F32, count)?;
            let (is_first, tap) =
                name.strip_prefix("first.").map_or((false, name.as_str()), |tap| (true, tap));
            let tap: Tap = tap.parse().map_err(|_| file.wrong(format!("tensor {name}, expected a tap")))?;
            let points = points.entry(tap).or_default();
            if is_first { points.first = Some(values) } else { points.later = values }
        }
        let job = file.text("job")?.to_owned();
        Ok(LensShare { share, tokens: first..end, job, points, path: path.to_owned() })
    }

    /// The points of all shares, if they are all shares of this job. `ranks` are the coordinates of a point at each tap: at later
    /// positions, and at the first.
    ///
    /// # Errors
    ///
    /// [`LensError::OtherJob`], [`LensError::Shares`], and [`LensError::File`] if points are missing.
    pub(super) fn merged(
        shares: &[LensShare],
        job: &str,
        vocab_size: usize,
        ranks: &BTreeMap<Tap, (usize, Option<usize>)>,
    ) -> Result<BTreeMap<Tap, TokenPoints>, LensError> {
        for share in shares {
            if share.job != job {
                return Err(LensError::OtherJob { path: share.path.clone() });
            }
            let count = share.tokens.len();
            let sizes = |(&tap, points): (&Tap, &TokenPoints)| {
                (tap, (points.later.len(), points.first.as_ref().map(Vec::len)))
            };
            let found: BTreeMap<_, _> = share.points.iter().map(sizes).collect();
            let size = |(&tap, &(later, first)): (&Tap, &(usize, Option<usize>))| {
                // A header that was read may state any count.
                (tap, (count.saturating_mul(later), first.map(|first| count.saturating_mul(first))))
            };
            if count > 0 && found != ranks.iter().map(size).collect() {
                let reason = "expected a point of each of its tokens at each tap of the lenses".to_owned();
                return Err(TensorFileError::malformed(&share.path, reason).into());
            }
        }
        let results: Vec<ShareResult> = shares.iter().map(LensShare::result).collect();
        let mut points: BTreeMap<Tap, TokenPoints> = BTreeMap::new();
        for at in ShareResult::cover(&results, vocab_size, "tokens")? {
            for (&tap, more) in &shares[at].points {
                points.entry(tap).or_default().extend(more.clone());
            }
        }
        Ok(points)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_beyond_the_vocabulary_are_refused() {
        let ranks = BTreeMap::from([(Tap::Block(1), (2, None))]);
        let merged = |tokens: usize, values: usize| {
            let points = TokenPoints { later: vec![0.5; values], first: None };
            let points = BTreeMap::from([(Tap::Block(1), points)]);
            let share = LensShare::new(Share::WHOLE, 0..tokens, "job".to_owned(), points);
            LensShare::merged(&[share], "job", 3, &ranks).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(merged(3, 6), Ok(()));
        let error = merged(4, 8).unwrap_err();
        assert!(error.contains("ends before number 4 of the tokens, expected at most 3"), "{error}");
        let error = merged(usize::MAX, 8).unwrap_err();
        assert!(error.contains("expected a point of each of its tokens"), "{error}");
    }

    #[test]
    fn a_share_of_another_job_is_refused() {
        let ranks = BTreeMap::from([(Tap::Block(1), (2, None))]);
        let points = TokenPoints { later: vec![0.5; 6], first: None };
        let points = BTreeMap::from([(Tap::Block(1), points)]);
        let share = LensShare::new(Share::WHOLE, 0..3, "job".to_owned(), points);
        let merged = |job| LensShare::merged(std::slice::from_ref(&share), job, 3, &ranks).map(drop);
        assert!(merged("job").is_ok());
        assert!(matches!(merged("another").unwrap_err(), LensError::OtherJob { .. }));
    }
}
