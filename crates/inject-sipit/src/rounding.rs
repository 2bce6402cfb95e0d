//! The rounding of a model's weights to a narrow format, which takes seconds, with reports on the way.

use crate::{
    error::InvertError,
    models::{Decoder, NumberFormat, Progress, Tap, Unit},
    tuning::WEIGHTS_BETWEEN_REPORTS,
};

/// The decoder with its weights in a format, as [`Decoder::with_weights_in`] rounds them.
pub(crate) fn with_weights_in(
    decoder: &Decoder,
    format: NumberFormat,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Decoder, InvertError> {
    match format {
        NumberFormat::Float(_) => Ok(decoder.clone().with_weights_in(format)?),
        format => {
            map_weights_by_scale(decoder, format, &mut |weights| format.round_weights(weights), progress)
        }
    }
}

/// The decoder with changed weights, as [`Decoder::map_weights_by_scale`] changes them.
pub(crate) fn map_weights_by_scale(
    decoder: &Decoder,
    format: NumberFormat,
    change: &mut dyn FnMut(&mut [f64]),
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<Decoder, InvertError> {
    // Two operations for each weight.
    let total = (decoder.config().flops_per_token(Tap::FinalNorm) / 2.0) as u64;
    let (mut done, mut reported) = (0, 0);
    let mut counted = |weights: &mut [f64]| {
        change(weights);
        done += weights.len();
        if done - reported >= WEIGHTS_BETWEEN_REPORTS {
            reported = done;
            progress(Progress::new("round the weights", Unit::Units, done as u64, total));
        }
    };
    Ok(decoder.clone().map_weights_by_scale(format, &mut counted)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn rounding_reports_again_and_again_and_changes_nothing_else() {
        let decoder = inject_testing::models::random("llama", 31, &Device::flex());
        for format in [NumberFormat::Int8, NumberFormat::Nf4, NumberFormat::Q4_0] {
            let (mut reports, mut last) = (0, 0.0);
            let rounded = with_weights_in(&decoder, format, &mut |progress| {
                assert!(progress.fraction() > last && progress.fraction() <= 1.0);
                (reports, last) = (reports + 1, progress.fraction());
            });
            assert!(reports >= 2 && last > 0.5, "{format}: {reports}");
            let expected = decoder.clone().with_weights_in(format).unwrap();
            let states = |decoder: &Decoder| {
                let states = crate::TargetStates::of_prompt(decoder, Tap::Block(1), &[3, 1]);
                states.unwrap().states().to_owned()
            };
            assert_eq!(states(&rounded.unwrap()), states(&expected), "{format}");
        }
    }
}
