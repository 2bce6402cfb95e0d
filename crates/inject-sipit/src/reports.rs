//! Reports of progress from several places.

use std::cell::RefCell;

use crate::models::Progress;

/// The same reports from any number of places, one at a time.
pub(crate) fn shared<'a>(progress: &'a mut dyn FnMut(Progress<'_>)) -> impl Fn(Progress<'_>) + 'a {
    let progress = RefCell::new(progress);
    move |report: Progress<'_>| (progress.borrow_mut())(report)
}
