//! Reads from the device. Each waits for all that was computed before, so few of them keep a GPU busy.

use inject_sipit::{
    InvertError, Inverter, Policy, Settings,
    models::{Alternative, Tap, host::Reads, silent},
    sources::{Draft, OpenPosition, Provisional},
};

use crate::{
    small::{decoders, target},
    sources::{Simple, SimplePolicy},
};

const PROMPT: [u32; 12] = [5, 96, 5, 0, 41, 7, 7, 63, 12, 30, 88, 1];

/// Drafts the prompt, with alternatives to its last token.
struct Draughtsman {
    alternatives: u32,
}

impl Simple for Draughtsman {
    fn name(&self) -> &'static str {
        "draughtsman"
    }

    fn draft(&self, at: &OpenPosition<'_>, _: &Provisional) -> Result<Option<Draft>, InvertError> {
        let place = PROMPT.len() - 1;
        let alternatives = (20..20 + self.alternatives).map(|id| Alternative { place, id }).collect();
        Ok(Some(Draft::from(PROMPT[at.prefix.len()..].to_vec()).with_alternatives(alternatives)))
    }
}

#[test]
fn a_whole_draft_is_verified_by_one_pass_and_one_read() {
    for (case, decoder) in decoders() {
        let tap = Tap::Block(2);
        let target = target(&decoder, &PROMPT, tap);
        let inverter = Inverter::new(&decoder, tap, Settings::new()).unwrap();
        // The projections of the embeddings are read once for each inverter.
        let once = Policy::new().simple(Draughtsman { alternatives: 0 });
        inverter.invert(&target, &mut inverter.searcher(&once), &mut silent).unwrap();
        for alternatives in [0, 3] {
            let policy = Policy::new().simple(Draughtsman { alternatives });
            let mut searcher = inverter.searcher(&policy);
            let before = Reads::of_this_thread();
            let inversion = inverter.invert(&target, &mut searcher, &mut silent).unwrap();
            let reads = Reads::of_this_thread() - before;
            assert_eq!(inversion.token_ids(), PROMPT, "{case}");
            assert!(inversion.is_verified(), "{case}: {inversion:?}");
            assert_eq!(inversion.cost.stages()["draft"].batches, 1.0, "{case}");
            assert_eq!(reads.count, 1, "{case}, {alternatives}");
            let rows = PROMPT.len() + alternatives as usize;
            assert_eq!(reads.bytes, (4 * rows * target.d_model()) as u64, "{case}, {alternatives}");
        }
    }
}
