//! The unit that inversions are measured in: one forward pass.

use std::time::Instant;

use inject_sipit::models::{Decoder, Logits, Tap, TokenBatch};

use crate::Failure;

/// Seconds of one forward pass of a prompt to a tap: the median of five.
///
/// # Errors
///
/// When the decoder cannot compute the prompt.
pub fn forward_seconds(decoder: &Decoder, token_ids: &[u32], tap: Tap) -> Result<f64, Failure> {
    const TIMES: usize = 5;
    let tokens = TokenBatch::new(&[token_ids])?;
    let mut seconds = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        let start = Instant::now();
        decoder.forward(&tokens, &[tap], Logits::None)?;
        decoder.device().sync()?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    Ok(seconds[TIMES / 2])
}
