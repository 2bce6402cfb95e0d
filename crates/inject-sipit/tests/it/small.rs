//! Short ways to invert prompts of small random models.

use inject_sipit::{
    Decoder, Extraction, Inversion, InvertError, Inverter, Policy, Scan, Settings, Tap, TargetStates,
    foreign::SourceDtype, store::Positions,
};
pub(crate) use inject_testing::models::{FAMILIES, ROTARY, model, of_vocabulary, random, with_equal_rows};

/// The states of one prompt at one tap, as somebody else would have them.
pub(crate) fn target(decoder: &Decoder, prompt: &[u32], tap: Tap) -> TargetStates {
    let extraction = Extraction::new(vec![tap], Positions::All).unwrap();
    let states = extraction.run(decoder, &[prompt.to_vec()], &mut |_| ()).unwrap().remove(&tap).unwrap();
    TargetStates::new(states.mapv(f64::from), tap, SourceDtype::F32).unwrap()
}

/// Every token at every position, whatever fits.
pub(crate) fn exhaustive(decoder: &Decoder, target: &TargetStates) -> Result<Inversion, InvertError> {
    let settings = Settings { scan: Scan::Whole, ..Settings::default() };
    invert(decoder, target, &mut Policy::new(), settings)
}

pub(crate) fn invert(
    decoder: &Decoder,
    target: &TargetStates,
    policy: &mut Policy,
    settings: Settings,
) -> Result<Inversion, InvertError> {
    Inverter::new(decoder, target.tap(), settings)?.invert(target, policy, &mut |_| ())
}
