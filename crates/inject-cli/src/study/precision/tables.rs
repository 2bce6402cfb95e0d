//! The results as tables.

use inject_studies::{decoding::DecodingStudy, formats::FormatStudy, recovery::RecoveryStudy};

use crate::{
    number::{count, counted},
    study::quantile,
    table::{Cell, Table, rows},
};

/// The closest pairs in each format.
pub(crate) fn formats(study: &FormatStudy) -> Table {
    let title = format!("Closest pair of {} (L2)", counted(study.prompts, "prompt"));
    rows(title, &study.formats).columns([
        ("storage", &|found| Cell::of(found.storage)),
        ("tap", &|found| Cell::of(found.tap)),
        ("closest", &|found| found.closest.distance.into()),
        ("median", &|found| quantile(&found.quantiles, 0.5).into()),
        ("noise floor", &|found| found.noise.largest().into()),
        ("collisions", &|found| found.collisions.into()),
        ("resolution", &|found| Cell::of(found.resolution)),
    ])
}

/// The number of positions recovered in each view of the states.
pub(crate) fn decoding(study: &DecodingStudy) -> Table {
    let title = format!(
        "Is the true token the nearest of all {}? At {}, with the true prefix known (certified)",
        count(study.others + 1),
        counted(study.positions, "position")
    );
    rows(title, study.taps.iter().flat_map(|tap| tap.views.iter().map(move |view| (tap, view)))).columns([
        ("tap", &|(tap, _)| Cell::of(tap.tap)),
        ("state", &|(_, view)| Cell::of(&view.name)),
        ("recovered", &|(_, view)| view.recovered.into()),
        ("positions", &|(_, view)| view.positions.into()),
        ("recovered first", &|(_, view)| view.recovered_first.into()),
        ("first positions", &|(_, view)| view.first.into()),
        ("within half margin", &|(_, view)| view.within_half_margin.into()),
        ("recovered beyond", &|(_, view)| view.recovered_beyond.into()),
        ("error median", &|(_, view)| quantile(&view.errors, 0.5).into()),
        ("error / half margin median", &|(_, view)| quantile(&view.errors_over_half_margin, 0.5).into()),
        ("error / half margin largest", &|(_, view)| quantile(&view.errors_over_half_margin, 1.0).into()),
        ("tokens nearer largest", &|(_, view)| {
            quantile(&view.nearer, 1.0).map_or(Cell::Missing, |nearer| Cell::Count(nearer as u64))
        }),
    ])
}

/// The noise that begins to matter.
pub(crate) fn breaking(study: &DecodingStudy) -> Table {
    rows("The L2 norm of noise that first brings another token nearer", &study.taps).columns([
        ("tap", &|tap| Cell::of(tap.tap)),
        ("noise floor", &|tap| tap.noise.largest().into()),
        ("norm median", &|tap| quantile(&tap.norms, 0.5).into()),
        ("margin least", &|tap| quantile(&tap.margins, 0.0).into()),
        ("margin median", &|tap| quantile(&tap.margins, 0.5).into()),
        ("certain up to", &|tap| quantile(&tap.margins, 0.0).map(|least| least / 2.0).into()),
        ("breaks at least", &|tap| quantile(&tap.breaking, 0.0).into()),
        ("breaks at median", &|tap| quantile(&tap.breaking, 0.5).into()),
        ("times half margin least", &|tap| quantile(&tap.breaking_over_half_margin, 0.0).into()),
        ("times half margin median", &|tap| quantile(&tap.breaking_over_half_margin, 0.5).into()),
    ])
}

/// The curve of recovery against noise.
pub(crate) fn survival(study: &DecodingStudy) -> Table {
    rows(
        "Recovery against noise",
        study.taps.iter().flat_map(|tap| tap.survival.iter().map(move |at| (tap, at))),
    )
    .columns([
        ("tap", &|(tap, _)| Cell::of(tap.tap)),
        ("noise over margin", &|(_, at)| at.noise_over_margin.into()),
        ("recovered", &|(_, at)| Cell::Share(at.recovered)),
    ])
}

/// Returns the table of margins in random subspaces.
pub(crate) fn projections(study: &DecodingStudy) -> Table {
    rows(
        "Margins within random subspaces",
        study.taps.iter().flat_map(|tap| tap.projections.iter().map(move |projected| (tap, projected))),
    )
    .columns([
        ("tap", &|(tap, _)| Cell::of(tap.tap)),
        ("dimensions", &|(_, projected)| projected.dimensions.into()),
        ("margin least", &|(_, projected)| quantile(&projected.margins, 0.0).into()),
        ("margin median", &|(_, projected)| quantile(&projected.margins, 0.5).into()),
        ("noise floor", &|(tap, _)| tap.noise.largest().into()),
        ("separated", &|(_, projected)| projected.separated.into()),
        ("positions", &|(_, _)| study.positions.into()),
    ])
}

/// Returns a table with a row for each number format and tap of the inversions.
pub(crate) fn recovery(study: &RecoveryStudy) -> Table {
    rows("Whole prompts", &study.recovered).columns([
        ("condition", &|found| Cell::of(found.condition)),
        ("tap", &|found| Cell::of(found.tap)),
        ("recovered", &|found| found.exact.into()),
        ("prompts", &|found| found.prompts.into()),
        ("right", &|found| found.right.into()),
        ("tokens", &|found| found.tokens.into()),
        ("gone", &|found| found.gone.into()),
        ("not found", &|found| found.not_found.into()),
        ("failed", &|found| found.failed.into()),
        ("candidates a token", &|found| found.candidates_per_token.into()),
        ("error largest", &|found| found.largest_error.into()),
        ("runner-up / floor", &|found| found.least_margin_over_floor.into()),
    ])
}
