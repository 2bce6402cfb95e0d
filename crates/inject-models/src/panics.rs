//! The messages of panics that were caught.

use std::any::Any;

/// Returns the message of a panic, from the payload that `catch_unwind` returns. `None` if the payload is not a text.
///
/// # Example
///
/// ```
/// use inject_models::panics::message;
///
/// let payload = std::panic::catch_unwind(|| panic!("{} blocks", 3)).unwrap_err();
/// assert_eq!(message(payload.as_ref()), Some("3 blocks"));
/// ```
pub fn message(payload: &(dyn Any + Send)) -> Option<&str> {
    let owned = payload.downcast_ref::<String>().map(String::as_str);
    owned.or_else(|| payload.downcast_ref::<&str>().copied())
}
