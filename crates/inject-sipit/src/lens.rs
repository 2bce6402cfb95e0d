//! A lens ranks the whole vocabulary for every position at once, without knowing the prefix.
//!
//! A state is mostly its own token. What the context adds is partly known too, because the state before it is given. With `C[v]`
//! the mean state of token `v` behind a few fixed prefixes and wherever a text has it, `A` a linear map from the previous state to
//! what the context adds, and `S` the covariance of what is then left, the score of a token is
//!
//! ```text
//! score(v) = -1/2 (h - m - A h' - C[v])' S^-1 (h - m - A h' - C[v])   +   logit(v | B h') / w
//! ```
//!
//! for the state `h` at a position and `h'` at the one before. This is neither the logit lens nor the tuned lens: those predict the
//! next token, this reads the token at the position. Ours; no published source.
//!
//! Whitened by `S` and rotated onto the axes along which tokens differ most, a few dozen coordinates carry it, so one product
//! `[positions, k] x [k, vocab_size]` drafts a whole prompt. The second term is the model's own next-token prior, read from the
//! previous state by a linear map to the final norm; it is kept at the taps where it pays.
//!
//! Where a prompt begins, there is no context, and the state is known exactly for each token: a table of its own.

mod boxes;
mod build;
mod error;
mod file;
mod fit;
mod nearness;
mod passes;
mod score;

use self::boxes::Boxes;
pub use self::{
    build::{FirstPosition, LensBuilder, LensCost, LensProgress},
    error::LensError,
};
pub(crate) use self::{
    passes::flop_of_candidate,
    score::{Evidence, Shortlist},
};
use std::sync::{Arc, OnceLock};

use burn::tensor::{Device, Tensor};
use half::f16;
use inject_collisions::{Arithmetic, approximate_products::Bits, models::Tap};

use crate::{InvertError, token_rows::TokenRows};

/// A lens for one tap of one model.
#[derive(Clone, Debug)]
pub struct Lens {
    about: LensAbout,
    later: Codebook,
    prior: Option<PriorMap>,
    first: First,
}

/// What a lens was made for, and how well it does.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct LensAbout {
    /// The tap of the states it reads.
    pub tap: Tap,
    /// [`Model::weight_hash`](inject_collisions::Model::weight_hash) of the model.
    pub weight_hash: String,
    /// Width of the states.
    pub d_model: usize,
    /// Tokens ranked.
    pub vocab_size: usize,
    /// Coordinates kept of the whitened space.
    pub rank: usize,
    /// Prefixes behind which each token's state was computed.
    pub prefixes: usize,
    /// Positions of text from which the maps were fitted.
    pub positions_fitted: usize,
    /// Positions of text held out from that.
    pub positions_held_out: usize,
    /// Share of the held-out positions at which the true token ranked first.
    pub held_out_top_1: f64,
    /// The same among the first 16.
    pub held_out_top_16: f64,
    /// What a difference of scores is multiplied by to become a difference of log-probabilities, fitted on the held-out
    /// positions.
    pub sharpness: f64,
}

impl LensAbout {
    /// A figure that no lens has, and its name.
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

/// Tokens as points of a low-dimensional space in which distance is evidence: the nearer the point of a state, the larger its product
/// with the token's less half the square of that.
#[derive(Clone, Debug)]
struct Codebook {
    /// `[inputs, rank]`: a state (and the one before it) to a point.
    projection: Tensor<2>,
    /// `[1, rank]`
    offset: Tensor<2>,
    /// The tokens' points, `[vocab_size, rank]` row-major, as a file has them.
    codes: Arc<Vec<f16>>,
    /// Their mean, once it was needed.
    mean: Arc<OnceLock<Vec<f32>>>,
    /// The same, ready to be looked through.
    tokens: Tokens,
    kind: Kind,
}

/// What a codebook is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// First positions, where the state looked for is a token's very point.
    First,
    /// Later ones, by the state alone.
    Later,
    /// Later ones, with an expectation that is added to the scores.
    BesidePrior,
}

/// Tokens' points, ready to be looked through.
#[derive(Clone, Debug)]
enum Tokens {
    /// All of them; from their products half the squared length of each is taken away.
    Rows(TokenRows),
    /// Those in boxes that are near enough.
    Boxes(Arc<Boxes>),
}

/// Coordinates up to which boxes pay: of more, hardly any box is far from a point in enough of them.
const FEW: usize = 16;

/// From the state before a position to the state after the final norm, whose logits are the prior.
#[derive(Clone, Debug)]
struct PriorMap {
    /// `[d_model, d_model]`
    map: Tensor<2>,
    /// `[1, d_model]`
    offset: Tensor<2>,
    /// What the codebook's score is multiplied by before the logits are added.
    weight: f64,
}

/// What is known of the first position.
#[derive(Clone, Debug)]
enum First {
    /// Prompts begin with this token.
    Bos(u32),
    /// Prompts begin with any token.
    Any(Box<Codebook>),
}

impl Codebook {
    /// From maps to points of `rank` coordinates, and the tokens' points on the host, `[vocab_size, rank]` row-major.
    fn new(projection: Tensor<2>, offset: Tensor<2>, codes: &[f32], kind: Kind) -> Result<Self, InvertError> {
        // A point beyond the range of f16 lies far from all others wherever it is put at its edge.
        let edge = f16::MAX.to_f32();
        let codes = codes.iter().map(|code| f16::from_f32(code.clamp(-edge, edge))).collect();
        Codebook::computed_by(Arithmetic::I16OnProcessor, projection, offset, Arc::new(codes), kind)
    }

    fn computed_by(
        arithmetic: Arithmetic,
        projection: Tensor<2>,
        offset: Tensor<2>,
        codes: Arc<Vec<f16>>,
        kind: Kind,
    ) -> Result<Self, InvertError> {
        let [_, rank] = projection.dims();
        let tokens = if kind == Kind::Later && rank <= FEW && arithmetic == Arithmetic::I16OnProcessor {
            Tokens::Boxes(Arc::new(Boxes::of(&codes, rank)))
        } else {
            let squares = |code: &[f16]| code.iter().map(|value| value.to_f64().powi(2)).sum::<f64>();
            let taken_away: Vec<f32> = codes.chunks(rank).map(|code| (-0.5 * squares(code)) as f32).collect();
            let values = codes.iter().map(|value| value.to_f32()).collect();
            let points = tensor(values, [taken_away.len(), rank], &projection.device());
            let digits = if kind == Kind::First { Digits::Eight } else { Digits::Sixteen };
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
    /// What it was made for.
    pub fn about(&self) -> &LensAbout {
        &self.about
    }

    /// The same lens, read by the device or by the processor. By default it is the processor: the points of a prompt are few, and what
    /// is to be found in their products with all tokens is little.
    ///
    /// # Errors
    ///
    /// [`InvertError`] when the device fails.
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
