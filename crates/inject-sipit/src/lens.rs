//! A lens ranks the whole vocabulary for every position at once, without knowing the prefix.
//!
//! A state is mostly its own token. What the context adds is partly known too, because the state before it is given. With `C[v]`
//! the mean state of token `v` behind a few fixed prefixes, `A` a linear map from the previous state to what the context adds,
//! and `S` the covariance of what is then left, the score of a token is
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

/// Tokens as points of a low-dimensional space in which distance is evidence.
#[derive(Clone, Debug)]
struct Codebook {
    /// `[inputs, rank]`: a state (and the one before it) to a point.
    projection: Tensor<2>,
    /// `[1, rank]`
    offset: Tensor<2>,
    /// Points of consecutive tokens, transposed: `[rank, tokens]` each, so that a product reads them in order.
    chunks: Vec<Tensor<2>>,
    /// `[1, tokens]` each: minus half the squared length of each point.
    biases: Vec<Tensor<2>>,
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
    /// From points on the host, `[vocab_size, rank]` row-major.
    fn new(projection: Tensor<2>, offset: Tensor<2>, codes: &[f32], rank: usize, device: &Device) -> Self {
        let mut chunks = Vec::new();
        let mut biases = Vec::new();
        for rows in codes.chunks(CHUNK * rank) {
            let tokens = rows.len() / rank;
            let mut transposed = vec![0.0_f32; rows.len()];
            for (token, row) in rows.chunks(rank).enumerate() {
                for (axis, &value) in row.iter().enumerate() {
                    transposed[axis * tokens + token] = value;
                }
            }
            let half = |row: &[f32]| -0.5 * row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() as f32;
            let bias: Vec<f32> = rows.chunks(rank).map(half).collect();
            chunks.push(tensor(transposed, [rank, tokens], device));
            biases.push(tensor(bias, [1, tokens], device));
        }
        Codebook { projection, offset, chunks, biases }
    }

    fn vocab_size(&self) -> usize {
        self.biases.iter().map(|bias| bias.dims()[1]).sum()
    }

    /// The points on the host again, `[vocab_size, rank]` row-major.
    fn codes(&self) -> Result<Vec<f32>, crate::InvertError> {
        let mut codes = Vec::new();
        for chunk in &self.chunks {
            codes.extend(crate::read_f32(chunk.clone().transpose())?);
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
