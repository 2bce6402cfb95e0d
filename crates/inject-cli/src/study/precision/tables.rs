//! The results as tables.

use inject_studies::{decoding::DecodingStudy, formats::FormatStudy, recovery::RecoveryStudy};

use crate::{
    number::{count, counted},
    study::quantile,
    table::{Cell, Table},
};

/// The closest pairs in each format.
pub(crate) fn formats(study: &FormatStudy) -> Table {
    let title = format!("Closest pair of {} (L2)", counted(study.prompts, "prompt"));
    let headings = ["storage", "tap", "closest", "median", "noise floor", "collisions", "resolution"];
    let mut table = Table::new(title, &headings);
    for found in &study.formats {
        table.push([
            Cell::of(found.storage),
            Cell::of(found.tap),
            found.closest.distance.into(),
            quantile(&found.quantiles, 0.5).into(),
            found.noise.largest().into(),
            found.collisions.into(),
            Cell::of(found.resolution),
        ]);
    }
    table
}

/// The number of positions recovered in each view of the states.
pub(crate) fn decoding(study: &DecodingStudy) -> Table {
    let title = format!(
        "Is the true token the nearest of all {}? At {}, with the true prefix known (certified)",
        count(study.others + 1),
        counted(study.positions, "position")
    );
    let headings = [
        "tap",
        "state",
        "recovered",
        "positions",
        "recovered first",
        "first positions",
        "within half margin",
        "recovered beyond",
        "error median",
        "error / half margin median",
        "error / half margin largest",
        "tokens nearer largest",
    ];
    let mut table = Table::new(title, &headings);
    for tap in &study.taps {
        for view in &tap.views {
            table.push([
                Cell::of(tap.tap),
                Cell::of(&view.name),
                view.recovered.into(),
                view.positions.into(),
                view.recovered_first.into(),
                view.first.into(),
                view.within_half_margin.into(),
                view.recovered_beyond.into(),
                quantile(&view.errors, 0.5).into(),
                quantile(&view.errors_over_half_margin, 0.5).into(),
                quantile(&view.errors_over_half_margin, 1.0).into(),
                quantile(&view.nearer, 1.0).map_or(Cell::Missing, |nearer| Cell::Count(nearer as u64)),
            ]);
        }
    }
    table
}

/// The noise that begins to matter.
pub(crate) fn breaking(study: &DecodingStudy) -> Table {
    let headings = [
        "tap",
        "noise floor",
        "norm median",
        "margin least",
        "margin median",
        "certain up to",
        "breaks at least",
        "breaks at median",
        "times half margin least",
        "times half margin median",
    ];
    let mut table = Table::new("The L2 norm of noise that first brings another token nearer", &headings);
    for tap in &study.taps {
        let least = quantile(&tap.margins, 0.0);
        table.push([
            Cell::of(tap.tap),
            tap.noise.largest().into(),
            quantile(&tap.norms, 0.5).into(),
            least.into(),
            quantile(&tap.margins, 0.5).into(),
            least.map(|least| least / 2.0).into(),
            quantile(&tap.breaking, 0.0).into(),
            quantile(&tap.breaking, 0.5).into(),
            quantile(&tap.breaking_over_half_margin, 0.0).into(),
            quantile(&tap.breaking_over_half_margin, 0.5).into(),
        ]);
    }
    table
}

/// The curve of recovery against noise.
pub(crate) fn survival(study: &DecodingStudy) -> Table {
    let mut table = Table::new("Recovery against noise", &["tap", "noise over margin", "recovered"]);
    for tap in &study.taps {
        for at in &tap.survival {
            table.push([Cell::of(tap.tap), at.noise_over_margin.into(), Cell::Share(at.recovered)]);
        }
    }
    table
}

/// Returns the table of margins in random subspaces.
pub(crate) fn projections(study: &DecodingStudy) -> Table {
    let headings =
        ["tap", "dimensions", "margin least", "margin median", "noise floor", "separated", "positions"];
    let mut table = Table::new("Margins within random subspaces", &headings);
    for tap in &study.taps {
        for projected in &tap.projections {
            table.push([
                Cell::of(tap.tap),
                projected.dimensions.into(),
                quantile(&projected.margins, 0.0).into(),
                quantile(&projected.margins, 0.5).into(),
                tap.noise.largest().into(),
                projected.separated.into(),
                study.positions.into(),
            ]);
        }
    }
    table
}

/// Returns a table with a row for each number format and tap of the inversions.
pub(crate) fn recovery(study: &RecoveryStudy) -> Table {
    let headings = [
        "condition",
        "tap",
        "recovered",
        "prompts",
        "right",
        "tokens",
        "gone",
        "not found",
        "failed",
        "candidates a token",
        "error largest",
        "runner-up / floor",
    ];
    let mut table = Table::new("Whole prompts", &headings);
    for found in &study.recovered {
        table.push([
            Cell::of(found.condition),
            Cell::of(found.tap),
            found.exact.into(),
            found.prompts.into(),
            found.right.into(),
            found.tokens.into(),
            found.gone.into(),
            found.not_found.into(),
            found.failed.into(),
            found.candidates_per_token.into(),
            found.largest_error.into(),
            found.least_margin_over_floor.into(),
        ]);
    }
    table
}
