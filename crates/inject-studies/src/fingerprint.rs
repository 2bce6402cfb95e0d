//! The identity of prompts in a journal.

/// Returns a text that identifies prompts in a journal: their number and a hash of their token ids.
pub fn fingerprint(prompts: &[Vec<u32>]) -> String {
    // FNV-1a protects against mistakes, not against attacks.
    let mix = |hash: u64, number: u64| (hash ^ number).wrapping_mul(0x0000_0100_0000_01b3);
    let hash = prompts.iter().fold(0xcbf2_9ce4_8422_2325, |hash, ids| {
        ids.iter().fold(mix(hash, ids.len() as u64), |hash, &id| mix(hash, u64::from(id)))
    });
    format!("{} prompts, {hash:016x}", prompts.len())
}
