//! The prompt under recovery, as sources of candidates see it.

use std::{cell::RefCell, collections::HashSet, fmt, time::Instant};

use crate::{
    error::InvertError,
    models::{Decoder, PrefixCache, Progress, Tap},
    noise::spread,
    target::TargetStates,
    vocabulary::Vocabulary,
};

use super::{Tested, most_likely, next_token::NextToken};

/// A prompt under recovery: the model, and the states to invert.
#[derive(Debug)]
pub struct Prompt<'a> {
    vocabulary: &'a Vocabulary<'a>,
    target: &'a TargetStates,
    number: usize,
    next_token: RefCell<NextToken>,
}

impl<'a> Prompt<'a> {
    pub(crate) fn new(vocabulary: &'a Vocabulary<'a>, target: &'a TargetStates, number: usize) -> Self {
        Prompt { vocabulary, target, number, next_token: RefCell::default() }
    }

    /// Returns the model that explains the states.
    pub fn decoder(&self) -> &'a Decoder {
        self.vocabulary.decoder()
    }

    /// Returns the model's embedding and head, for scoring all tokens at once.
    pub fn vocabulary(&self) -> &'a Vocabulary<'a> {
        self.vocabulary
    }

    /// Returns the states to invert.
    pub fn target(&self) -> &'a TargetStates {
        self.target
    }

    /// Returns the index of this prompt among those of the same [`Searcher`](crate::policy::Searcher), counted from 0.
    pub fn number(&self) -> usize {
        self.number
    }
}

/// The first open position of a prompt, after a known prefix.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct OpenPosition<'a> {
    /// The prompt that is being recovered.
    pub prompt: &'a Prompt<'a>,
    /// The token ids before the position.
    pub prefix: &'a [u32],
    /// The candidates tested at the position after this prefix.
    pub tested: &'a Tested,
    /// The deadline of the prompt, if there is one. A slow source should return its draft before it.
    pub deadline: Option<Instant>,
    pub(crate) progress: &'a dyn Fn(Progress<'_>),
}

impl fmt::Debug for OpenPosition<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let OpenPosition { prompt, prefix, tested, deadline, progress: _ } = self;
        let mut fields = f.debug_struct("OpenPosition");
        fields.field("prompt", prompt).field("prefix", prefix).field("tested", tested);
        fields.field("deadline", deadline).finish_non_exhaustive()
    }
}

/// One turn of a policy at a position.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Turn<'a> {
    /// The upper bound on the candidates of this turn at a position, as [`Policy::then_up_to`](crate::Policy::then_up_to) set
    /// it. A turn without such a bound has the number of tokens in the vocabulary.
    pub limit: usize,
    /// The keys and values of the prefix, up to the tap.
    pub cache: &'a PrefixCache,
}

impl<'a> OpenPosition<'a> {
    /// Returns the position within the prompt, counted from 0.
    pub fn position(&self) -> usize {
        self.prefix.len()
    }

    /// Returns the model that explains the states.
    pub fn decoder(&self) -> &'a Decoder {
        self.prompt.decoder()
    }

    /// Returns the model's embedding and head.
    pub fn vocabulary(&self) -> &'a Vocabulary<'a> {
        self.prompt.vocabulary
    }

    /// Returns the states to invert.
    pub fn target(&self) -> &'a TargetStates {
        self.prompt.target
    }

    /// Returns the state of the position, `[d_model]`.
    pub fn wanted(&self) -> &'a [f64] {
        self.prompt.target.state(self.position())
    }

    /// Returns the tap at which the states were read.
    pub fn tap(&self) -> Tap {
        self.prompt.target.tap()
    }

    /// Returns the number of tokens in the vocabulary.
    pub fn vocab_size(&self) -> usize {
        self.decoder().config().vocab_size
    }

    /// Reports the progress of a long computation of a source. A caller may end the recovery by unwinding from a report, so there should be
    /// one for every second of work.
    pub fn report(&self, progress: Progress<'_>) {
        (self.progress)(progress);
    }

    /// Returns the model's own expectation at the position: the logarithm of every token's probability, up to an additive
    /// constant.
    ///
    /// At the last block and after the final norm it is read from the state of the previous position. At other taps the model is
    /// computed up to its head. At the first position it is the average over single-token prompts. All sources of a prompt share
    /// the computation.
    ///
    /// # Errors
    ///
    /// [`InvertError`] if the device fails.
    pub fn expectation(&self) -> Result<Vec<f64>, InvertError> {
        self.prompt.next_token.borrow_mut().expectation(self)
    }

    /// Returns the `count` untested tokens with the largest scores, largest first. `scores` has one entry for each token.
    pub(super) fn likeliest_untested(&self, scores: &[f64], count: usize) -> Vec<u32> {
        let likely = most_likely(scores, count + self.tested.len());
        likely.into_iter().filter(|&id| !self.tested.contains(id)).take(count).collect()
    }

    /// Samples `count` untested tokens from the whole vocabulary, with a preference for low ids. Tokenizers number their tokens by
    /// merges or by probability, so low ids are common tokens.
    pub(super) fn sample_of_vocabulary(&self, count: usize) -> Vec<u32> {
        let vocab_size = self.vocab_size();
        let common_first = |id: u32| (u64::from(id) * u64::from(id) / vocab_size as u64) as u32;
        let mut once = HashSet::new();
        let all = spread(vocab_size as u32).take(vocab_size).map(common_first);
        all.filter(|id| !self.tested.contains(*id) && once.insert(*id)).take(count).collect()
    }
}
