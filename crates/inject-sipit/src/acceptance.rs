//! The rules by which a candidate counts as the token.

use crate::error::InvertError;

/// The rule by which a candidate's state counts as the given state.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Acceptance {
    /// Within the noise of this very position: the noise of computing (measured), the rounding of each coordinate to the number
    /// format (known), and noise added on purpose, at most `added` in L2.
    NoiseFloor {
        /// Upper bound on the L2 norm of noise added to every state: 0 for states as they were computed.
        added: f64,
    },
    /// Within one fixed L2 distance, whatever the model, tap and position: the paper's verifier.
    ///
    /// # Source
    ///
    /// arXiv 2510.15511, Definition D.2. No value is given there.
    Ball {
        /// The largest accepted distance, in L2.
        epsilon: f64,
    },
    /// `|candidate - state| <= atol + rtol |state|` in every coordinate: the rule of the published code, which uses 1e-5 for both.
    ///
    /// # Source
    ///
    /// PyTorch, `torch.allclose`; github.com/giorgosnikolaou/SIPIT (`is_match`).
    AllClose {
        /// The accepted difference, as a share of the coordinate.
        rtol: f64,
        /// The accepted difference of a coordinate that is zero.
        atol: f64,
    },
}

impl Default for Acceptance {
    fn default() -> Self {
        Acceptance::NoiseFloor { added: 0.0 }
    }
}

impl Acceptance {
    /// Checks that every bound is finite and not negative.
    pub(crate) fn check(self) -> Result<(), InvertError> {
        let bounds = match self {
            Acceptance::NoiseFloor { added } => vec![added],
            Acceptance::Ball { epsilon } => vec![epsilon],
            Acceptance::AllClose { rtol, atol } => vec![rtol, atol],
        };
        match bounds.into_iter().find(|bound| !(bound.is_finite() && *bound >= 0.0)) {
            None => Ok(()),
            Some(found) => Err(InvertError::Tolerance { found }),
        }
    }
}

/// The origin of the bound within which a candidate fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoiseOrigin {
    /// The measured noise of computing, the known rounding, and noise that the user bounded.
    Computing,
    /// The noise of a producer that computes in another format: estimated from the model, and from the positions settled before.
    Producer,
    /// A rule that the user chose.
    Rule,
}
