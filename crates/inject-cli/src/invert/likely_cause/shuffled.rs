//! The cause where rows in unknown order found no place.

use inject_sipit::{Settings, models::Tap, settings::ComputedIn};

use super::{CauseKind, LikelyCause};
use crate::{
    invert::{
        change::Change,
        report::{Recovered, VerdictName},
    },
    number::measured,
};

/// Whether the search for an order ended because its time was up.
pub(super) fn is_spent(recovered: &Recovered, settings: &Settings) -> bool {
    let time = settings.budget.time.map(|time| time.as_secs_f64());
    recovered.seconds.zip(time).is_some_and(|(took, time)| took >= time)
}

/// The cause of a position for which no token has any of the rows that are left, whatever their order.
pub(super) fn without_place(recovered: &Recovered, settings: &Settings, tap: Tap, at: usize) -> LikelyCause {
    if let Some(Change::Scaled { by, .. }) = recovered.change {
        let text = format!(
            "the row of position 0 is {} times a state of the model, and no token has any of the others at position {at}: most likely all states \
             were multiplied by that number; divide them by it, because states in unknown order are compared as they are",
            measured(by)
        );
        return LikelyCause { kind: CauseKind::TapOrWeights, text };
    }
    let settled = recovered.positions.iter().take_while(|row| row.verdict != VerdictName::Open);
    let found = settled.filter(|row| row.verdict.is_verified()).count();
    if found > 0 {
        let left = recovered.positions.len() - at;
        let text = format!(
            "{found} of the rows found their positions, and no token of the vocabulary has any of the other {left} at position {at}: most likely \
             a row is missing, or the others belong to another prompt or are padding; rows in unknown order are placed only if all of one \
             prompt are there"
        );
        return LikelyCause { kind: CauseKind::Rows, text };
    }
    let noise = match settings.computed_in {
        ComputedIn::Auto => {
            ", or they were computed in 16 bits, which their values do not show (try --computed-in bf16)"
        }
        _ => "",
    };
    let text = format!(
        "no token of the vocabulary has any of the rows at position {at}: most likely the states are those of another tap ({tap} was taken: give \
         another --tap) or of other weights, or the first row is missing{noise}"
    );
    LikelyCause { kind: CauseKind::TapOrWeights, text }
}
