//! The options that name the taps at which states are read.

use clap::Args;
use inject_sipit::models::{Model, Tap, TapError};

use crate::outcome::Failure;

/// The option for one tap.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct TapOption {
    /// The tap at which states are read: embedding, block-N or final-norm [default: see the description]
    #[arg(long, value_name = "TAP")]
    pub(crate) tap: Option<Tap>,
}

/// One tap, or the one found from the states.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct TapOrAutoOption {
    /// The tap at which states are read: embedding, block-N, final-norm, or auto to find the tap of a file from its states [default: see the description]
    #[arg(long, value_name = "TAP", value_parser = parse_tap_or_auto)]
    tap: Option<TapOrAuto>,
}

/// A tap, or the one found from the states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TapOrAuto {
    Auto,
    Tap(Tap),
}

fn parse_tap_or_auto(text: &str) -> Result<TapOrAuto, String> {
    match text {
        "auto" => Ok(TapOrAuto::Auto),
        _ => text.parse().map(TapOrAuto::Tap).map_err(|error: TapError| format!("{error}, or `auto`")),
    }
}

impl TapOrAutoOption {
    /// The tap, if it was named.
    pub(crate) fn named(self) -> Option<Tap> {
        match self.tap {
            Some(TapOrAuto::Tap(tap)) => Some(tap),
            Some(TapOrAuto::Auto) | None => None,
        }
    }

    /// Whether the tap is to be found even if a file names it.
    pub(crate) fn is_auto(self) -> bool {
        self.tap == Some(TapOrAuto::Auto)
    }

    /// The tap, or the block in the middle.
    pub(crate) fn or_middle(self, model: &Model) -> Result<Tap, Failure> {
        TapOption { tap: self.named() }.or_middle(model)
    }
}

/// The option for several taps.
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

    /// Returns the tap that was named, otherwise the last block.
    pub(crate) fn or_last(self, model: &Model) -> Result<Tap, Failure> {
        let n_layers = model.decoder.config().n_layers();
        Ok(self.tap.unwrap_or(Tap::Block(n_layers)).checked(n_layers)?)
    }
}

impl TapsOption {
    /// Reads the list, and checks that the model has each tap.
    pub(crate) fn of(&self, model: &Model) -> Result<Vec<Tap>, Failure> {
        Ok(Tap::parse_list(&self.taps, model.decoder.config().n_layers())?)
    }
}
