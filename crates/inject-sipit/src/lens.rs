//! Lenses rank the whole vocabulary for every position at once, without knowing the prefix.
//!
//! A state depends mostly on its own token. The contribution of the context is partly known too, because the state before is
//! given. With `C[v]` the mean state of token `v` after a few fixed prefixes and at its occurrences in a text, `A` a linear map from
//! the previous state to the contribution of the context, and `S` the covariance of the remainder, the score of a token is
//!
//! ```text
//! score(v) = -1/2 (h - m - A h' - C[v])' S^-1 (h - m - A h' - C[v])   +   logit(v | B h') / w
//! ```
//!
//! for the state `h` at a position and `h'` at the one before. This is neither the logit lens nor the tuned lens. They predict the
//! next token, and this lens reads the token at the position. The method is ours and has no published source.
//!
//! Whitened by `S` and rotated onto the axes along which tokens differ most, a few dozen coordinates carry it, so one product
//! `[positions, k] x [k, vocab_size]` drafts a whole prompt. The second term is the model's own next-token prior, read from the
//! previous state by a linear map to the final norm; it is kept at the taps where it pays.
//!
//! At the first position there is no context, and the state of each token is known exactly: a table of its own.

mod boxes;
mod build;
mod error;
mod file;
mod fit;
mod nearness;
mod passes;
mod score;
mod share;

use self::boxes::Boxes;
pub use self::{
    build::{FirstPosition, LensBuilder, LensCost},
    error::LensError,
    share::LensShare,
};
pub(crate) use self::{
    passes::{candidates_of_a_pass, flop_of_candidate},
    score::{Evidence, Shortlist},
};
use std::sync::{Arc, OnceLock};

use crate::{
    collisions::{Arithmetic, approximate_products::Bits},
    error::InvertError,
    models::Tap,
    token_rows::TokenRows,
    tuning::BOXES_MOST_RANK,
};
use burn::tensor::{Device, Tensor};
use half::f16;

/// A lens for one tap of one model.
#[derive(Clone, Debug)]
pub struct Lens {
    info: LensInfo,
    later: Codebook,
    prior: Option<PriorMap>,
    first: First,
}

/// The origin of a lens, and its quality.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub struct LensInfo {
    /// The tap of the states it reads.
    pub tap: Tap,
    /// [`Model::weight_hash`](crate::models::Model::weight_hash) of the model.
    pub weight_hash: String,
    /// The number of coordinates of a state.
    pub d_model: usize,
    /// The number of tokens in the model's vocabulary.
    pub vocab_size: usize,
    /// Coordinates of the whitened space that are kept.
    pub rank: usize,
    /// Prefixes after which each token's state was computed.
    pub prefixes: usize,
    /// Positions of text from which the maps were fitted.
    pub positions_fitted: usize,
    /// Positions of text held out from that.
    pub positions_held_out: usize,
    /// Share of the held-out positions at which the true token ranked first.
    pub held_out_top_1: f64,
    /// Share of them at which it ranked among the first 16.
    pub held_out_top_16: f64,
    /// The factor from a difference of scores to a difference of log-probabilities, fitted on the held-out positions.
    pub sharpness: f64,
}

impl LensInfo {
    /// The name and value of a figure that no lens can have.
    fn out_of_range(&self) -> Option<(&'static str, f64)> {
        let share = |share: f64| (0.0..=1.0).contains(&share);
        let factor = |factor: f64| factor > 0.0 && factor.is_finite();
        [
            ("held_out_top_1", self.held_out_top_1, share(self.held_out_top_1)),
            ("held_out_top_16", self.held_out_top_16, share(self.held_out_top_16)),
            ("sharpness", self.sharpness, factor(self.sharpness)),
        ]
        .into_iter()
        .find_map(|(name, found, right)| (!right).then_some((name, found)))
    }
}

/// Tokens as points of a low-dimensional space in which distance is evidence. The nearer the point of a state lies to a token's, the
/// larger is the product of the two minus half the square of the token's.
#[derive(Clone, Debug)]
struct Codebook {
    /// `[inputs, rank]`: a state (and the one before it) to a point.
    projection: Tensor<2>,
    /// Added to a projected state. Shape `[1, rank]`.
    offset: Tensor<2>,
    /// The tokens' points, `[vocab_size, rank]` row-major, as in a file.
    codes: Arc<Vec<f16>>,
    /// Their mean, once it is needed.
    mean: Arc<OnceLock<Vec<f32>>>,
    /// The points, prepared for a search.
    tokens: Tokens,
    kind: CodebookKind,
}

/// The purpose of a codebook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CodebookKind {
    /// First positions, where the state looked for is exactly a token's point.
    First,
    /// Later positions, by the state alone.
    Later,
    /// Later positions, with an expectation that is added to the scores.
    BesidePrior,
}

/// Tokens' points, prepared for a search.
#[derive(Clone, Debug)]
enum Tokens {
    /// All of them. Half the squared length of each is subtracted from its products.
    Rows(TokenRows),
    /// Boxes of them, of which only near ones are searched.
    Boxes(Arc<Boxes>),
}

/// From the state before a position to the state after the final norm, whose logits are the prior.
#[derive(Clone, Debug)]
struct PriorMap {
    /// The linear part. Shape `[d_model, d_model]`.
    map: Tensor<2>,
    /// Added to a mapped state. Shape `[1, d_model]`.
    offset: Tensor<2>,
    /// The factor on the codebook's score before the logits are added.
    weight: f64,
}

/// The knowledge of the first position.
#[derive(Clone, Debug)]
enum First {
    /// Prompts begin with this token.
    Bos(u32),
    /// Prompts begin with any token.
    Any(Box<Codebook>),
}

impl Codebook {
    /// A codebook from maps to points of `rank` coordinates, and the tokens' points on the host, `[vocab_size, rank]` row-major.
    fn new(
        projection: Tensor<2>,
        offset: Tensor<2>,
        codes: &[f32],
        kind: CodebookKind,
    ) -> Result<Self, InvertError> {
        // A point beyond the range of f16 is far from all others at any edge of the range.
        let edge = f16::MAX.to_f32();
        let codes = codes.iter().map(|code| f16::from_f32(code.clamp(-edge, edge))).collect();
        Codebook::computed_by(Arithmetic::I16OnProcessor, projection, offset, Arc::new(codes), kind)
    }

    fn computed_by(
        arithmetic: Arithmetic,
        projection: Tensor<2>,
        offset: Tensor<2>,
        codes: Arc<Vec<f16>>,
        kind: CodebookKind,
    ) -> Result<Self, InvertError> {
        let [_, rank] = projection.dims();
        let tokens = if kind == CodebookKind::Later
            && rank <= BOXES_MOST_RANK
            && arithmetic == Arithmetic::I16OnProcessor
        {
            Tokens::Boxes(Arc::new(Boxes::of(&codes, rank)))
        } else {
            let squares = |code: &[f16]| code.iter().map(|value| value.to_f64().powi(2)).sum::<f64>();
            let taken_away: Vec<f32> = codes.chunks(rank).map(|code| (-0.5 * squares(code)) as f32).collect();
            let values = codes.iter().map(|value| value.to_f32()).collect();
            let points = tensor(values, [taken_away.len(), rank], &projection.device());
            let digits = if kind == CodebookKind::First { Bits::Eight } else { Bits::Sixteen };
            Tokens::Rows(TokenRows::of(points, Some(taken_away), digits, arithmetic)?)
        };
        Ok(Codebook { projection, offset, codes, mean: Arc::default(), tokens, kind })
    }

    fn with_arithmetic(self, arithmetic: Arithmetic) -> Result<Self, InvertError> {
        Codebook::computed_by(arithmetic, self.projection, self.offset, self.codes, self.kind)
    }

    fn rank(&self) -> usize {
        self.offset.dims()[1]
    }

    fn vocab_size(&self) -> usize {
        self.codes.len() / self.rank()
    }
}

impl Lens {
    /// Returns the origin and quality of the lens.
    pub fn info(&self) -> &LensInfo {
        &self.info
    }

    /// Returns the same lens, read by the device or by the processor. The default is the processor, because a prompt has few
    /// points, and few of their products with all tokens matter.
    ///
    /// # Errors
    ///
    /// [`InvertError`] if the device fails.
    pub fn with_arithmetic(self, arithmetic: Arithmetic) -> Result<Self, InvertError> {
        let first = match self.first {
            First::Any(codebook) => First::Any(Box::new(codebook.with_arithmetic(arithmetic)?)),
            bos => bos,
        };
        Ok(Lens { later: self.later.with_arithmetic(arithmetic)?, first, ..self })
    }
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(burn::tensor::TensorData::new(values, shape), device)
}
