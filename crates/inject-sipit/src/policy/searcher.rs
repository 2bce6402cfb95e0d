//! A policy at work on one model and tap.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    sync::Arc,
    time::Instant,
};

use crate::{
    cost::Cost,
    error::InvertError,
    models::{Decoder, PrefixCache, Progress, Tap},
    sources::{Draft, OpenPosition, Prompt, Provisional, Session, Source, Turn},
    target::TargetStates,
    vocabulary::Vocabulary,
};

use super::Policy;

/// A policy at work on one model and tap, with everything its sources have learned from the prompts so far.
///
/// [`Inverter::searcher`](crate::Inverter::searcher) begins one that has learned nothing. Keep it for several prompts to let the
/// sources learn from prompt to prompt.
pub struct Searcher<'a> {
    vocabulary: Arc<Vocabulary<'a>>,
    tap: Tap,
    policy: &'a Policy,
    learners: Vec<Box<dyn Learner<'a> + 'a>>,
    begun: Cell<usize>,
}

/// The search for one prompt: a session of every source.
pub(crate) struct PromptSearch<'a> {
    prompt: Prompt<'a>,
    policy: &'a Policy,
    sessions: Vec<Box<dyn AnySession + 'a>>,
}

impl<'a> Searcher<'a> {
    pub(crate) fn new(vocabulary: Arc<Vocabulary<'a>>, tap: Tap, policy: &'a Policy) -> Self {
        let learners = policy.sources.iter().map(|source| source.learner()).collect();
        Searcher { vocabulary, tap, policy, learners, begun: Cell::new(0) }
    }

    /// Returns the policy that this searcher follows.
    pub fn policy(&self) -> &'a Policy {
        self.policy
    }

    /// Returns a searcher that knows what this one knows. Neither learns from the other after that. The copy counts its prompts
    /// from `begun` on.
    ///
    /// Copies of one searcher search a prompt in the same way, whatever the order of the prompts and after any interruption.
    pub fn copy(&self, begun: usize) -> Self {
        let learners = self.learners.iter().map(|learner| learner.copy()).collect();
        Searcher {
            vocabulary: self.vocabulary.clone(),
            tap: self.tap,
            policy: self.policy,
            learners,
            begun: Cell::new(begun),
        }
    }

    /// Returns a copy for a search on the way, whose prompts are none of those begun before.
    pub(crate) fn aside(&self) -> Self {
        self.copy(self.begun.get())
    }

    /// Returns whether a source carries knowledge from prompt to prompt.
    pub fn learns(&self) -> bool {
        self.learners.iter().any(|learner| learner.learns())
    }

    /// Whether it works on this model at this tap.
    pub(crate) fn serves(&self, decoder: &Decoder, tap: Tap) -> bool {
        std::ptr::eq(self.vocabulary.decoder(), decoder) && self.tap == tap
    }

    pub(crate) fn begin<'s>(&'s self, target: &'s TargetStates) -> Result<PromptSearch<'s>, InvertError> {
        let prompt = Prompt::new(&self.vocabulary, target, self.begun.replace(self.begun.get() + 1));
        let sessions = self.learners.iter().map(|learner| learner.begin(&prompt));
        let sessions = sessions.collect::<Result<_, _>>()?;
        Ok(PromptSearch { prompt, policy: self.policy, sessions })
    }
}

impl std::fmt::Debug for Searcher<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Searcher({} at {}, {} prompts begun)", self.policy, self.tap, self.begun.get())
    }
}

impl<'a> PromptSearch<'a> {
    /// The first draft among the sources.
    pub(crate) fn draft(
        &mut self,
        open: Open<'_>,
        seen: &Provisional,
        cost: &mut Cost,
    ) -> Result<Option<Draft>, InvertError> {
        let at = open.of(&self.prompt);
        for (source, session) in self.policy.sources.iter().zip(&mut self.sessions) {
            let start = Instant::now();
            let draft = session.draft(&at, seen)?;
            cost.stage(source.name()).choosing_seconds += start.elapsed().as_secs_f64();
            if draft.is_some() {
                return Ok(draft);
            }
        }
        Ok(None)
    }

    /// The next untested candidates and the name of their source. None if every source is spent.
    pub(crate) fn propose(
        &mut self,
        open: Open<'_>,
        cache: &PrefixCache,
        cost: &mut Cost,
    ) -> Result<Option<(&'static str, Vec<u32>)>, InvertError> {
        let at = open.of(&self.prompt);
        for turn in &self.policy.turns {
            let name = self.policy.sources[turn.source.0].name();
            let start = Instant::now();
            let turn_here = Turn { limit: turn.limit.unwrap_or(at.vocab_size()), cache };
            let mut ids = self.sessions[turn.source.0].propose(&at, &turn_here)?;
            cost.stage(name).choosing_seconds += start.elapsed().as_secs_f64();
            let mut once = HashSet::new();
            ids.retain(|&id| (id as usize) < at.vocab_size() && !at.tested.contains(id) && once.insert(id));
            if !ids.is_empty() {
                return Ok(Some((name, ids)));
            }
        }
        Ok(None)
    }
}

/// The first open position of a prompt, without the prompt.
#[derive(Clone, Copy)]
pub(crate) struct Open<'a> {
    pub(crate) prefix: &'a [u32],
    pub(crate) tested: &'a crate::sources::Tested,
    pub(crate) deadline: Option<Instant>,
    pub(crate) progress: &'a dyn Fn(Progress<'_>),
}

impl<'a> Open<'a> {
    fn of(self, prompt: &'a Prompt<'a>) -> OpenPosition<'a> {
        let Open { prefix, tested, deadline, progress } = self;
        OpenPosition { prompt, prefix, tested, deadline, progress }
    }
}

/// A source, whatever the type of its memory.
pub(super) trait AnySource: Send + Sync {
    fn name(&self) -> &'static str;
    fn learner(&self) -> Box<dyn Learner<'_> + '_>;
}

/// A source with its memory.
pub(super) trait Learner<'s> {
    fn copy(&self) -> Box<dyn Learner<'s> + 's>;
    fn learns(&self) -> bool;
    fn begin<'a>(&'a self, prompt: &Prompt<'_>) -> Result<Box<dyn AnySession + 'a>, InvertError>;
}

/// A session together with the memory of its source.
pub(super) trait AnySession {
    fn draft(&mut self, at: &OpenPosition<'_>, seen: &Provisional) -> Result<Option<Draft>, InvertError>;
    fn propose(&mut self, at: &OpenPosition<'_>, turn: &Turn<'_>) -> Result<Vec<u32>, InvertError>;
}

struct Learning<'a, S: Source> {
    source: &'a S,
    memory: RefCell<S::Memory>,
}

struct Remembering<'a, M> {
    session: Box<dyn Session<M> + 'a>,
    memory: &'a RefCell<M>,
}

impl<S: Source> AnySource for S {
    fn name(&self) -> &'static str {
        Source::name(self)
    }

    fn learner(&self) -> Box<dyn Learner<'_> + '_> {
        Box::new(Learning { source: self, memory: RefCell::default() })
    }
}

impl<'s, S: Source> Learner<'s> for Learning<'s, S> {
    fn copy(&self) -> Box<dyn Learner<'s> + 's> {
        Box::new(Learning { source: self.source, memory: self.memory.clone() })
    }

    fn learns(&self) -> bool {
        size_of::<S::Memory>() > 0
    }

    fn begin<'a>(&'a self, prompt: &Prompt<'_>) -> Result<Box<dyn AnySession + 'a>, InvertError> {
        Ok(Box::new(Remembering { session: self.source.begin(prompt)?, memory: &self.memory }))
    }
}

impl<M> AnySession for Remembering<'_, M> {
    fn draft(&mut self, at: &OpenPosition<'_>, seen: &Provisional) -> Result<Option<Draft>, InvertError> {
        self.session.draft(at, seen, &mut self.memory.borrow_mut())
    }

    fn propose(&mut self, at: &OpenPosition<'_>, turn: &Turn<'_>) -> Result<Vec<u32>, InvertError> {
        self.session.propose(at, turn, &mut self.memory.borrow_mut())
    }
}
