//! Hard prompts: a search over the whole prompt at once.

use super::*;

#[test]
fn hard_prompts_draft_one_valid_prompt_and_the_scan_repairs_it() {
    for case in FAMILIES {
        let draft = |seed| {
            let results = observe(case, 13, HardPrompts::seeded(seed).at_most(40));
            let drafts = results.into_iter().map(|(inversion, said)| {
                assert_eq!(inversion.token_ids(), PROMPT, "{case}");
                assert!(inversion.is_verified(), "{case}");
                assert!(said.proposals.iter().all(|(_, ids)| ids.is_empty()));
                said.drafts
            });
            drafts.collect::<Vec<_>>()
        };
        for drafts in draft(1) {
            let [ids] = drafts.as_slice() else { panic!("{case}: {drafts:?}") };
            assert_eq!(ids.len(), PROMPT.len());
            assert!(ids.iter().all(|&id| id < 97));
        }
        assert_eq!(draft(1), draft(1), "{case}");
        assert_ne!(draft(1), draft(2), "{case}");
    }
}

#[test]
fn hard_prompts_find_the_prompt_where_states_are_embeddings() {
    let device = inject_testing::any_device();
    for case in FAMILIES {
        let decoder = random(case, 17, &device);
        // There the loss is the distance between the points and the rows wanted, which has no other minimum.
        let target = target(&decoder, &PROMPT, Tap::Embedding);
        let said = Arc::new(Mutex::new(Said::default()));
        let source = Observed { source: HardPrompts::seeded(1), said: said.clone() };
        let inversion = invert(&decoder, &target, &Policy::new().then(source), Settings::new()).unwrap();
        let drafts = std::mem::take(&mut said.lock().unwrap().drafts);
        assert_eq!(drafts, [PROMPT.to_vec()], "{case}");
        assert!(inversion.positions.iter().all(|position| position.found_by() == Some("draft")), "{case}");
    }
}
