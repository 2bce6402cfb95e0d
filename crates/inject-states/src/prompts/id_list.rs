//! A list of prompts that may take a limited number of bytes.

use super::reader::KEPT;

/// Prompts as token ids, which may take a limited number of bytes: 4 for each id, and 64 to keep each prompt.
///
/// # Example
///
/// ```
/// use inject_states::prompts::IdList;
///
/// let mut list = IdList::new(2 * 64 + 3 * 4);
/// list.push(vec![1, 2])?;
/// list.push(vec![3])?;
/// let error = list.push(vec![4]).unwrap_err();
/// assert_eq!(error.to_string(), "the token ids of 3 prompts take more than 140 bytes");
/// assert_eq!(list.into_ids(), [vec![1, 2], vec![3]]);
/// # Ok::<(), inject_states::prompts::TooManyIds>(())
/// ```
#[derive(Clone, Debug)]
pub struct IdList {
    ids: Vec<Vec<u32>>,
    bytes: usize,
    most: usize,
}

/// Prompts whose ids take more bytes than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the token ids of {prompts} prompts take more than {most} bytes")]
#[non_exhaustive]
pub struct TooManyIds {
    /// The number of prompts, of which the last is beyond the limit.
    pub prompts: usize,
    /// The largest number of bytes.
    pub most: usize,
}

impl IdList {
    /// Creates an empty list of at most `most` bytes.
    pub const fn new(most: usize) -> Self {
        IdList { ids: Vec::new(), bytes: 0, most }
    }

    /// Adds a prompt.
    ///
    /// # Errors
    ///
    /// [`TooManyIds`] if there is no room for it. The list is then unchanged.
    pub fn push(&mut self, ids: Vec<u32>) -> Result<(), TooManyIds> {
        let bytes = self.bytes.saturating_add(size_of_val(ids.as_slice()) + KEPT);
        if bytes > self.most {
            return Err(TooManyIds { prompts: self.ids.len() + 1, most: self.most });
        }
        self.bytes = bytes;
        self.ids.push(ids);
        Ok(())
    }

    /// Returns the prompts in the order in which they were added.
    pub fn into_ids(self) -> Vec<Vec<u32>> {
        self.ids
    }
}
