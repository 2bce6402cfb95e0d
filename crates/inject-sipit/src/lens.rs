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
//! for the state `h` at a position and `h'` at the one before. Whitened by `S` and rotated onto the axes along which tokens
//! differ most, a few dozen coordinates carry it, so one product `[positions, k] x [k, vocab_size]` drafts a whole prompt. The
//! second term is the model's own next-token prior, read from the previous state by a linear map to the final norm; it is kept
//! at the taps where it pays.
//!
//! Where a prompt begins, there is no context, and the state is known exactly for each token: a table of its own.

mod build;
mod error;
mod file;
mod fit;
mod score;

pub(crate) use self::score::{Evidence, Shortlist};
pub use self::{
    build::{FirstPosition, LensBuilder, LensCost, LensProgress},
    error::LensError,
};
use burn::tensor::{Device, Tensor};
use inject_collisions::Tap;

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

/// Tokens as points of a low-dimensional space in which distance is evidence: the nearer the point of a state, the larger its product
/// with the token's less half the square of that.
#[derive(Clone, Debug)]
struct Codebook {
    /// `[inputs, rank + 1]`: a state (and the one before it) to a point, whose last coordinate is one.
    projection: Tensor<2>,
    /// `[1, rank + 1]`
    offset: Tensor<2>,
    /// Points of consecutive tokens, each with minus half its squared length behind it, transposed: `[rank + 1, tokens]` each, so that
    /// one product reads them in order and is the score.
    chunks: Vec<Tensor<2>>,
}

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

/// Tokens of one chunk of a codebook: the scores of a prompt's positions over so many tokens stay in a core's cache.
const CHUNK: usize = 2048;

impl Codebook {
    /// From maps to points of `rank` coordinates, and the tokens' points on the host, `[vocab_size, rank]` row-major.
    fn new(projection: Tensor<2>, offset: Tensor<2>, codes: &[f32], device: &Device) -> Self {
        let [inputs, rank] = projection.dims();
        let beside = |map: Tensor<2>, last: f32, rows: usize| {
            Tensor::cat(vec![map, tensor(vec![last; rows], [rows, 1], device)], 1)
        };
        let transposed = |rows: &[f32]| {
            let tokens = rows.len() / rank;
            let mut transposed = vec![0.0_f32; (rank + 1) * tokens];
            for (token, row) in rows.chunks(rank).enumerate() {
                let half = -0.5 * row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
                for (axis, &value) in row.iter().chain([&(half as f32)]).enumerate() {
                    transposed[axis * tokens + token] = value;
                }
            }
            tensor(transposed, [rank + 1, tokens], device)
        };
        Codebook {
            projection: beside(projection, 0.0, inputs),
            offset: beside(offset, 1.0, 1),
            chunks: codes.chunks(CHUNK * rank).map(transposed).collect(),
        }
    }

    fn rank(&self) -> usize {
        self.offset.dims()[1] - 1
    }

    fn vocab_size(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.dims()[1]).sum()
    }

    /// The maps to points, without the coordinate that is one.
    fn maps(&self) -> (Tensor<2>, Tensor<2>) {
        let rank = self.rank();
        (self.projection.clone().narrow(1, 0, rank), self.offset.clone().narrow(1, 0, rank))
    }

    /// The points on the host again, `[vocab_size, rank]` row-major.
    fn codes(&self) -> Result<Vec<f32>, crate::InvertError> {
        let mut codes = Vec::new();
        for chunk in &self.chunks {
            codes.extend(crate::read_f32(chunk.clone().narrow(0, 0, self.rank()).transpose())?);
        }
        Ok(codes)
    }
}

impl Lens {
    /// What it was made for.
    pub fn about(&self) -> &LensAbout {
        &self.about
    }
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::from_data(burn::tensor::TensorData::new(values, shape), device)
}
