//! Short ways to invert prompts of small random models.

use inject_sipit::{
    Inversion, InvertError, Inverter, Policy, Settings, TargetStates,
    models::{Decoder, Tap, silent},
    settings::Scan,
};
pub(crate) use inject_testing::models::{
    FAMILIES, ROTARY, decoders, model, of_vocabulary, random, random_decoders, with_equal_rows,
};

/// The states of one prompt at one tap, as somebody else would have them.
pub(crate) fn target(decoder: &Decoder, prompt: &[u32], tap: Tap) -> TargetStates {
    TargetStates::of_prompt(decoder, tap, prompt).unwrap()
}

/// Tests every token at every position, whatever fits.
pub(crate) fn exhaustive(decoder: &Decoder, target: &TargetStates) -> Result<Inversion, InvertError> {
    invert(decoder, target, &Policy::new(), Settings::new().with_scan(Scan::Whole))
}

/// Inverts one prompt by sources that have learned nothing.
pub(crate) fn invert(
    decoder: &Decoder,
    target: &TargetStates,
    policy: &Policy,
    settings: Settings,
) -> Result<Inversion, InvertError> {
    let inverter = Inverter::new(decoder, target.tap(), settings)?;
    inverter.invert(target, &mut inverter.searcher(policy), &mut silent)
}

/// A size of batches.
pub(crate) fn batches(size: usize) -> std::num::NonZeroUsize {
    std::num::NonZeroUsize::new(size).unwrap()
}
