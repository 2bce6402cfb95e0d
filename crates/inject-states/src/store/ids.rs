//! The token ids of the prompts, and the prompt, position and token of each row.

pub(crate) mod extent;
pub(crate) mod prompts;
pub(crate) mod rows;
