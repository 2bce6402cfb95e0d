//! Positions whose states are missing.
//!
//! A missing token has no state, but the state after it depends on it. So tokens are tried in pairs: the missing one, and the one after
//! it, whose state is known. The token after it is guessed first. Its state depends mostly on itself, so it is among the nearest ones
//! after any token in the gap. Of two missing tokens in succession, the first is one that the model expects.

mod best_effort;
mod bridged;
mod pair;

use crate::{
    collisions::Ranked,
    cost::Cost,
    error::InvertError,
    inversion::{Inversion, Position, Verdict},
    models::{FloatFormat, Progress},
    noise::spread,
    policy::Searcher,
    reports::shared,
    settings::{ComputedIn, OnFailure, Scan, Settings, TapCheck},
    sources::{OpenPosition, Prompt, Tested, most_likely},
    states::prompt_states,
    target::TargetStates,
    transformation::Transformation,
    tuning::{GAP_ALL_PAIRS, GAP_FILLERS, GAP_FIRST, GAP_NEXT, GAP_WHOLE},
};

use self::bridged::Bridged;
use super::{Inverter, watch::Watch};

/// The search for a missing token.
enum Bridge {
    /// A token that fits, as a position, and all that are known to fit.
    Fits(Box<Position>, Vec<u32>),
    /// No token tested fits, so the position stays open.
    Open,
}

impl Bridge {
    fn is_verified(&self) -> bool {
        matches!(self, Bridge::Fits(position, _) if position.verdict.is_verified())
    }
}

impl Inverter<'_> {
    /// Recovers a prompt some of whose states are missing, stretch by stretch. [`Inverter::invert`] has checked both.
    pub(super) fn invert_with_gaps(
        &self,
        target: &TargetStates,
        searcher: &mut Searcher<'_>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Inversion, InvertError> {
        let target = self.recognised(target).unwrap_or_else(|| target.clone());
        let given = target.given().to_vec();
        let of_given = given.iter().enumerate().map(|(at, &token)| Position::given(at, token)).collect();
        let watch = Watch::start(self.settings.budget.time);
        let (producer, cost) = (None, Cost::default());
        let mut bridged = Bridged { target, ids: given, positions: of_given, producer, cost, watch };
        let mut candidates: Option<(Box<Position>, Vec<u32>)> = None;
        while bridged.positions.len() < bridged.target.positions() {
            let at = bridged.ids.len();
            if candidates.is_none() && bridged.is_missing(at) {
                let bridge = match bridged.missing_from(at) {
                    _ if bridged.known_after(at).is_none() => Bridge::Open,
                    1 => self.bridge(&mut bridged, searcher, progress)?,
                    2 => self.bridge_pair(&mut bridged, searcher, progress)?,
                    _ => Bridge::Open,
                };
                match bridge {
                    Bridge::Fits(position, fitting) => candidates = Some((position, fitting)),
                    Bridge::Open => {
                        let guesses = self.best_effort(&mut bridged, searcher, progress)?;
                        bridged.leave_open(&guesses);
                        break;
                    }
                }
            } else if !self.stretch(&mut bridged, candidates.take(), searcher, progress)? {
                bridged.leave_open(&[]);
            }
        }
        let transformation = bridged.target.transformation().clone();
        Ok(Inversion {
            positions: bridged.positions,
            transformation,
            producer: bridged.producer,
            cost: bridged.cost,
        })
    }

    /// Recovers the states up to the next gap, after each token that fits the last one. Returns whether all of them are verified.
    fn stretch(
        &self,
        bridged: &mut Bridged,
        gap: Option<(Box<Position>, Vec<u32>)>,
        searcher: &mut Searcher<'_>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<bool, InvertError> {
        let begin = bridged.ids.len() + usize::from(gap.is_some());
        let after = bridged.target.missing().iter().copied().find(|&missing| missing >= begin);
        let end = after.unwrap_or(bridged.target.positions());
        let tokens: Vec<Option<u32>> = match &gap {
            Some((_, fitting)) => fitting.iter().copied().map(Some).collect(),
            None => vec![None],
        };
        let mut tried: Vec<(Option<u32>, TargetStates, Inversion)> = Vec::new();
        for token in tokens {
            let ids: Vec<u32> = bridged.ids.iter().copied().chain(token).collect();
            let target = match token {
                Some(_) => {
                    let states = prompt_states(self.decoder, &ids, self.tap)?.to_f64();
                    bridged.target.clone().filled(begin - 1, states.row(begin - 1).to_vec())
                }
                None => bridged.target.clone(),
            };
            // The tap of later states is that of the first ones.
            let settings = self.settings.clone();
            let inverter = match begin > target.given().len() {
                true => self.with_settings(settings.with_tap_check(TapCheck::Never))?,
                false => self.clone(),
            };
            // The states of tokens in a gap are those of the weights given.
            let inverter = inverter.with_weights_as_given();
            let inverter = inverter.within(&bridged.watch);
            let inversion = inverter.invert(&target.part(end, &ids), searcher, progress)?;
            bridged.cost.add(&inversion.cost);
            tried.push((token, target, inversion));
        }
        let right = tried.iter().filter(|(.., inversion)| inversion.is_verified());
        let right: Vec<u32> = right.filter_map(|(token, ..)| *token).collect();
        let best = tried.iter().position(|(.., inversion)| inversion.is_verified()).unwrap_or(0);
        let (token, target, inversion) = tried.swap_remove(best);
        if let Some((mut position, _)) = gap {
            position.decide(token, &right);
            bridged.positions.push(*position);
        }
        let verified = inversion.is_verified();
        bridged.producer = inversion.producer.or(bridged.producer);
        bridged.target = match (bridged.target.transformation(), &inversion.transformation) {
            (Transformation::None, &Transformation::Scaled { by, within }) => target.scaled(by, within)?,
            _ => target,
        };
        bridged.ids = inversion.positions.iter().map_while(Position::token_id).collect();
        bridged.positions.extend(inversion.positions.into_iter().skip(begin));
        Ok(verified)
    }

    /// Looks for the token in a gap of one position.
    fn bridge(
        &self,
        bridged: &mut Bridged,
        searcher: &Searcher<'_>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Bridge, InvertError> {
        let vocab_size = self.decoder.config().vocab_size;
        let nexts = self.likely_after(bridged, searcher, progress)?;
        let first = self.bridge_to(bridged, &nexts, GAP_FIRST.min(vocab_size), searcher, progress)?;
        if first.is_verified() || vocab_size <= GAP_FIRST {
            return Ok(first);
        }
        let likeliest = &nexts[..nexts.len().min(GAP_WHOLE)];
        let whole = self.bridge_to(bridged, likeliest, vocab_size, searcher, progress)?;
        Ok(if whole.is_verified() || matches!(first, Bridge::Open) { whole } else { first })
    }

    /// Tests up to `most` tokens in a gap of one position, each followed by one of `nexts`. An ambiguous one is returned only if none is
    /// verified.
    fn bridge_to(
        &self,
        bridged: &mut Bridged,
        nexts: &[u32],
        most: usize,
        searcher: &Searcher<'_>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Bridge, InvertError> {
        let gap = bridged.ids.len();
        let states = bridged.target.with_row_at(gap + 1, gap).part(gap + 1, &bridged.ids);
        let mut inverter =
            self.with_settings(probing(&self.settings, &bridged.target, most))?.with_weights_as_given();
        let mut ambiguous = None;
        for &next in nexts {
            if bridged.watch.is_up() {
                break;
            }
            inverter.next = Some(next);
            let inverter = inverter.within(&bridged.watch);
            let mut inversion = inverter.invert(&states, &mut searcher.aside(), progress)?;
            bridged.cost.add(&inversion.cost);
            let Some(mut last) = inversion.positions.pop() else { continue };
            let fitting = match &last.verdict {
                Verdict::Verified | Verdict::Certain => last.token_id().into_iter().collect(),
                Verdict::Ambiguous { candidates, .. } => candidates.iter().map(|c| c.id).collect(),
                _ => continue,
            };
            last.kept.iter_mut().for_each(|kept| kept.found_by = "gap");
            let found = Bridge::Fits(Box::new(last), fitting);
            if found.is_verified() {
                return Ok(found);
            }
            ambiguous.get_or_insert(found);
        }
        Ok(ambiguous.unwrap_or(Bridge::Open))
    }

    /// The likeliest tokens after a gap, the likeliest first: those whose states are nearest after some tokens in the gap.
    fn likely_after(
        &self,
        bridged: &mut Bridged,
        searcher: &Searcher<'_>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Vec<u32>, InvertError> {
        let (gap, vocab_size) = (bridged.ids.len(), self.decoder.config().vocab_size);
        let inverter =
            self.with_settings(probing(&self.settings, &bridged.target, GAP_NEXT))?.with_weights_as_given();
        let mut likely: Vec<Ranked> = Vec::new();
        for filler in self.fillers(&bridged.target, &bridged.ids, GAP_FILLERS, progress)? {
            let ids = [&bridged.ids[..], &[filler]].concat();
            let states = prompt_states(self.decoder, &ids, self.tap)?.to_f64();
            let filled = bridged.target.clone().filled(gap, states.row(gap).to_vec());
            let inverter = inverter.within(&bridged.watch);
            let inversion = inverter.invert(&filled.part(gap + 2, &ids), &mut searcher.aside(), progress)?;
            bridged.cost.add(&inversion.cost);
            let kept = inversion.positions.last().and_then(|last| last.kept);
            let near = kept.iter().flat_map(|kept| {
                let own = Ranked { id: kept.token_id, distance: kept.distance };
                std::iter::once(own).chain(kept.runner_up)
            });
            likely.extend(near);
        }
        likely.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        let rest = if vocab_size <= GAP_ALL_PAIRS { 0..vocab_size as u32 } else { 0..0 };
        let mut once = std::collections::HashSet::new();
        Ok(likely.into_iter().map(|ranked| ranked.id).chain(rest).filter(|&id| once.insert(id)).collect())
    }

    /// Tokens that may follow some tokens in a gap: those that the model expects there, if it has a head.
    fn fillers(
        &self,
        target: &TargetStates,
        ids: &[u32],
        count: usize,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<Vec<u32>, InvertError> {
        if !self.decoder.has_head() {
            return Ok(spread(self.decoder.config().vocab_size as u32).take(count).collect());
        }
        let (prompt, tested) = (Prompt::new(&self.vocabulary, target, 0), Tested::new());
        let progress = &shared(progress);
        let at = OpenPosition { prompt: &prompt, prefix: ids, tested: &tested, deadline: None, progress };
        Ok(most_likely(&at.expectation()?, count))
    }
}

impl Position {
    /// Decides between the tokens of a gap by the states after it: `token` is kept, and after the `right` ones all states fit.
    fn decide(&mut self, token: Option<u32>, right: &[u32]) {
        let (Verdict::Ambiguous { candidates, more }, Some(token)) = (&mut self.verdict, token) else {
            return;
        };
        if let (Some(kept), Some(own)) = (&mut self.kept, candidates.iter().find(|own| own.id == token)) {
            (kept.token_id, kept.distance) = (own.id, own.distance);
        }
        if !right.is_empty() {
            candidates.retain(|candidate| right.contains(&candidate.id));
        }
        if candidates.len() == 1 && !*more {
            self.verdict = Verdict::Verified;
        }
    }
}

/// The settings of a search for at most so many candidates, within the budget of the user. Where such a search fails, the token beside
/// is wrong, so noise is estimated only if the states show its format.
pub(super) fn probing(settings: &Settings, target: &TargetStates, most: usize) -> Settings {
    let exact = settings.computed_in == ComputedIn::Auto && target.grid().is_none();
    let computed_in = if exact { ComputedIn::Format(FloatFormat::F32.into()) } else { settings.computed_in };
    let most = settings.budget.candidates.map_or(most, |users| users.min(most));
    settings
        .clone()
        .with_scan(Scan::AsNeeded)
        .with_on_failure(OnFailure::Stop)
        .with_tap_check(TapCheck::Never)
        .with_computed_in(computed_in)
        .with_budget(settings.budget.with_candidates(most))
}
