//! The summary of the positions of a tap.

use inject_sipit::{
    collisions::{NoiseFloor, Resolution},
    models::Tap,
};

use super::{LostPosition, Measured, Projected, Survival, TapDecoding, View};
use crate::{tap_distances::exact_quantiles, tuning::LISTED};

/// The norms of noise for which survival is reported, in margins. One half is the bound of Theorem 3.2.
const SIZES: [f64; 16] =
    [0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 16.0, 24.0];

pub(super) fn summarise(
    tap: Tap,
    noise: NoiseFloor,
    measured: &[(usize, Measured)],
    views: &[String],
    dimensions: &[usize],
) -> TapDecoding {
    let each = |value: &dyn Fn(&Measured) -> f64| {
        exact_quantiles(measured.iter().map(|(_, measured)| value(measured)).collect())
    };
    let half = |measured: &Measured| (measured.margin / 2.0).max(f64::MIN_POSITIVE);
    let breaking = || measured.iter().flat_map(|(_, measured)| measured.breaking.iter().flatten());
    let ratios: Vec<f64> = measured
        .iter()
        .flat_map(|(_, measured)| measured.breaking.iter().flatten().map(move |norm| norm / half(measured)))
        .collect();
    // A direction without a token in it never breaks, but it is counted.
    let directions: usize = measured.iter().map(|(_, measured)| measured.breaking.len()).sum();
    let survival = |noise_over_margin: f64| {
        let broken = ratios.iter().filter(|ratio| **ratio <= 2.0 * noise_over_margin).count();
        Survival { noise_over_margin, recovered: 1.0 - broken as f64 / directions as f64 }
    };
    TapDecoding {
        tap,
        noise,
        norms: each(&|measured| measured.norm),
        margins: each(&|measured| measured.margin),
        breaking: exact_quantiles(breaking().copied().collect()),
        breaking_over_half_margin: exact_quantiles(ratios.clone()),
        survival: match directions == 0 {
            true => Vec::new(),
            false => SIZES.into_iter().map(survival).collect(),
        },
        views: views.iter().enumerate().map(|(view, name)| of_view(view, name, measured)).collect(),
        projections: dimensions
            .iter()
            .enumerate()
            .map(|(number, &dimensions)| Projected {
                dimensions,
                margins: each(&|measured| measured.projected[number]),
                separated: measured
                    .iter()
                    .filter(|(_, measured)| {
                        Resolution::of(measured.projected[number], noise.largest()) == Resolution::Separated
                    })
                    .count(),
            })
            .collect(),
    }
}

fn of_view(view: usize, name: &str, measured: &[(usize, Measured)]) -> View {
    let seen = || measured.iter().map(|(_, measured)| (measured.views[view], measured.margin));
    let first = || measured.iter().filter(|(_, measured)| measured.position == 0);
    let promised = |error: f64, margin: f64| error < margin / 2.0;
    let lost = measured.iter().filter_map(|(prompt, measured)| {
        let seen = measured.views[view];
        let (nearest, distance) = seen.nearest?;
        let Measured { position, token, .. } = *measured;
        Some(LostPosition { prompt: *prompt, position, token, nearest, distance, error: seen.error })
    });
    View {
        name: name.to_owned(),
        positions: measured.len(),
        recovered: seen().filter(|(seen, _)| seen.nearer == 0).count(),
        first: first().count(),
        recovered_first: first().filter(|(_, measured)| measured.views[view].nearer == 0).count(),
        within_half_margin: seen().filter(|(seen, margin)| promised(seen.error, *margin)).count(),
        recovered_beyond: seen()
            .filter(|(seen, margin)| seen.nearer == 0 && !promised(seen.error, *margin))
            .count(),
        errors: exact_quantiles(seen().map(|(seen, _)| seen.error).collect()),
        errors_over_half_margin: exact_quantiles(
            seen().map(|(seen, margin)| seen.error / (margin / 2.0).max(f64::MIN_POSITIVE)).collect(),
        ),
        nearer: exact_quantiles(seen().map(|(seen, _)| seen.nearer as f64).collect()),
        lost: lost.take(LISTED).collect(),
    }
}
