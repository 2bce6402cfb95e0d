//! Hidden states of transformer language models at named taps, in memory and on disk.

pub mod foreign;
pub mod prompts;
pub mod store;
