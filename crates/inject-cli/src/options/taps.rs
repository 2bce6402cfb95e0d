//! Where states are read.

use clap::Args;
use inject_sipit::models::{Model, Tap};

use crate::Failure;

/// One tap.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct TapOption {
    /// The tap at which states are read: embedding, block-N or final-norm [default: see the description]
    #[arg(long, value_name = "TAP")]
    pub(crate) tap: Option<Tap>,
}

/// Several taps.
#[derive(Args, Clone, Debug)]
pub(crate) struct TapsOption {
    /// The taps at which states are read: all, or a list such as embedding,block-2,final-norm
    #[arg(long, value_name = "LIST", default_value = "all")]
    pub(crate) taps: String,
}

impl TapOption {
    /// The tap, or the block in the middle.
    pub(crate) fn or_middle(self, model: &Model) -> Result<Tap, Failure> {
        let n_layers = model.decoder.config().n_layers();
        Ok(self.tap.unwrap_or(Tap::Block(n_layers.div_ceil(2))).checked(n_layers)?)
    }

    /// The tap, or the last block.
    pub(crate) fn or_last(self, model: &Model) -> Result<Tap, Failure> {
        let n_layers = model.decoder.config().n_layers();
        Ok(self.tap.unwrap_or(Tap::Block(n_layers)).checked(n_layers)?)
    }
}

impl TapsOption {
    /// The taps of this model.
    pub(crate) fn of(&self, model: &Model) -> Result<Vec<Tap>, Failure> {
        Ok(Tap::parse_list(&self.taps, model.decoder.config().n_layers())?)
    }
}
