//! Options of recovery that contradict each other, or that would have no effect.

use std::num::NonZeroUsize;

use inject_sipit::settings::ComputedIn;

use super::{PolicyKind, PolicyOptions};
use crate::outcome::Failure;

impl PolicyOptions {
    /// Refuses counts and distances that nothing can satisfy.
    pub(super) fn check_numbers(&self) -> Result<(), Failure> {
        let counts = [("--beam", Some(self.beam)), ("--max-candidates", self.max_candidates)];
        if let Some((name, _)) = counts.into_iter().find(|(_, count)| *count == Some(0)) {
            return Err(Failure::usage(format!("{name} 0: expected at least 1")));
        }
        let distances = [("--epsilon", self.epsilon), ("--noise", Some(self.noise))];
        let allclose = self.allclose.iter().flatten().map(|&bound| ("--allclose", Some(bound)));
        for (name, value) in distances.into_iter().chain(allclose) {
            if let Some(value) = value.filter(|value| !value.is_finite() || *value < 0.0) {
                return Err(Failure::usage(format!(
                    "{name} {value}: expected a finite number that is not negative"
                )));
            }
        }
        Ok(())
    }

    /// Refuses options that would have no effect.
    pub(super) fn check_effects(&self) -> Result<(), Failure> {
        use PolicyKind::{Auto, Gradient, GradientReleased, Lens};
        let needs =
            |option: &str, policies: &str| Err(Failure::usage(format!("{option} needs --policy {policies}")));
        if self.lens.is_some() && !matches!(self.policy, Auto | Lens) {
            return needs("--lens", "auto or lens");
        }
        if self.snap != NonZeroUsize::MIN && !matches!(self.policy, Gradient | GradientReleased) {
            return needs("--snap", "gradient or gradient-released");
        }
        if self.seed.is_some() && !self.policy.draws() {
            return needs("--seed", "random, gradient, gradient-released or hard-prompts");
        }
        if self.certify && self.policy == PolicyKind::Exhaustive {
            return Err(Failure::usage(
                "--certify does not change --policy exhaustive, which tests the whole vocabulary at every position",
            ));
        }
        if self.rivals.is_some() && self.tests_everything() {
            return Err(Failure::usage(
                "--rivals needs a search that may end early: --certify and --policy exhaustive test the whole vocabulary",
            ));
        }
        if self.noise > 0.0 && self.computed_in != ComputedIn::Auto {
            return Err(Failure::usage(
                "--computed-in estimates the noise that --noise states: give one of them",
            ));
        }
        match (self.rivals, self.max_candidates) {
            (Some(rivals), Some(most)) if rivals >= most => Err(Failure::usage(format!(
                "--rivals {rivals} and the token itself are more than --max-candidates {most}"
            ))),
            _ => Ok(()),
        }
    }

    /// Refuses to skip checksums where there are none: without a lens and without a store.
    ///
    /// # Errors
    ///
    /// [`Failure`] that names the option.
    pub(crate) fn check_checksums(&self) -> Result<(), Failure> {
        match self.skip_checksums && self.lens.is_none() {
            true => Err(Failure::usage(
                "--skip-checksums needs --lens, or a store in --states: other files of states have no checksums",
            )),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(options: PolicyOptions, part: &str) {
        let failure = options.settings().unwrap_err();
        assert!(failure.to_string().contains(part), "{failure}");
        assert_eq!(failure.status(), 2);
    }

    #[test]
    fn options_without_effect_are_refused() {
        let with = PolicyOptions::default;
        refused(
            PolicyOptions { policy: PolicyKind::Prior, lens: Some("a".into()), ..with() },
            "auto or lens",
        );
        refused(PolicyOptions { snap: NonZeroUsize::new(4).unwrap(), ..with() }, "gradient");
        refused(PolicyOptions { certify: true, policy: PolicyKind::Exhaustive, ..with() }, "--certify");
        refused(PolicyOptions { seed: Some(1), ..with() }, "random");
        refused(PolicyOptions { rivals: Some(9), max_candidates: Some(9), ..with() }, "--max-candidates 9");
    }

    #[test]
    fn numbers_that_make_no_sense_are_refused() {
        let with = PolicyOptions::default;
        refused(PolicyOptions { beam: 0, ..with() }, "--beam 0");
        refused(PolicyOptions { epsilon: Some(-1.0), ..with() }, "--epsilon -1");
        refused(PolicyOptions { noise: f64::NAN, ..with() }, "--noise NaN");
        refused(PolicyOptions { allclose: Some(vec![1e-5]), ..with() }, "RTOL,ATOL");
        refused(PolicyOptions { max_seconds: Some(-1.0), ..with() }, "--max-seconds -1");
    }
}
