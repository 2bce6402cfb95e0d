//! The unit that inversions are measured in: one forward pass.

use std::time::Instant;

use inject_sipit::models::{Decoder, Logits, Tap, TokenBatch};

use crate::outcome::Failure;

/// The time of one forward pass of a prompt to a tap, in seconds: the median of five.
///
/// # Errors
///
/// [`Failure`] if the decoder cannot compute the prompt.
pub(crate) fn forward_seconds(decoder: &Decoder, token_ids: &[u32], tap: Tap) -> Result<f64, Failure> {
    const TIMES: usize = 5;
    let tokens = TokenBatch::new(&[token_ids])?;
    let mut seconds = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let start = Instant::now();
        decoder.forward(&tokens, &[tap], Logits::None)?;
        decoder.device().sync().map_err(|error| Failure::new(error.to_string()))?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[TIMES / 2])
}
