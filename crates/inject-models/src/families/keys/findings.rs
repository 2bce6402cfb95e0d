//! The facts that reading a config yields beside its description.

use std::cell::{Cell, RefCell};

use crate::error::ConfigProblem;

/// The facts that reading a config yields beside its description. All objects of one file share them.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// In the order in which the keys were read.
    pub(super) problems: RefCell<Vec<ConfigProblem>>,
    /// Keys that neither this crate nor transformers reads.
    pub(super) unread: RefCell<Vec<String>>,
    /// Values that follow from a key with a problem, and keys whose values are stand-ins.
    pub(super) unknown: RefCell<Vec<&'static str>>,
    /// Whether the last of transformers' `hidden_states` is the state before the final norm.
    pub(super) last_state_unnormed: Cell<bool>,
}

impl Findings {
    /// Marks keys as unknown from the beginning.
    pub(in crate::families) fn leave_out(&self, keys: Vec<&'static str>) {
        self.unknown.borrow_mut().extend(keys);
    }

    /// Whether the last of transformers' `hidden_states` is the state before the final norm.
    pub(crate) fn last_state_unnormed(&self) -> bool {
        self.last_state_unnormed.get()
    }

    /// Returns the keys that are not read, in order.
    pub(crate) fn unread(&self) -> Vec<String> {
        let mut keys = self.unread.take();
        keys.sort();
        keys
    }

    /// Returns the problems, in the order in which the keys were read.
    pub(crate) fn problems(&self) -> Vec<ConfigProblem> {
        self.problems.take()
    }

    /// Returns the number of problems so far.
    pub(in crate::families) fn count(&self) -> usize {
        self.problems.borrow().len()
    }
}
