//! The feed-forward branch.

use super::Bias;

/// The shape of the feed-forward branch of one block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedForwardConfig {
    /// Width of the hidden layer.
    pub d_ff: usize,
    /// The form of the branch.
    pub kind: FeedForwardKind,
    /// Bias on every projection of the branch.
    pub bias: Bias,
}

impl FeedForwardConfig {
    /// Returns the numbers of columns of the parts of the first projection: up alone, or gate and up.
    pub fn up_widths(&self) -> Vec<usize> {
        match self.kind {
            FeedForwardKind::Plain(_) => vec![self.d_ff],
            FeedForwardKind::Gated(_) => vec![self.d_ff; 2],
        }
    }

    /// Returns the number of columns of the first projection.
    pub fn up_width(&self) -> usize {
        match self.kind {
            FeedForwardKind::Plain(_) => self.d_ff,
            FeedForwardKind::Gated(_) => 2 * self.d_ff,
        }
    }
}

/// The form of a feed-forward branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedForwardKind {
    /// Two projections: `down(act(up(x)))`.
    Plain(Activation),
    /// Three projections: `down(act(gate(x)) * up(x))`.
    Gated(Activation),
}

/// A function applied to every element of the hidden layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Activation {
    /// GELU in its tanh approximation (`gelu_new`, `gelu_pytorch_tanh`).
    GeluTanh,
    /// GELU by the error function (`gelu`).
    #[serde(rename = "gelu")]
    GeluErf,
    /// `x * sigmoid(x)` (`silu`, `swish`).
    Silu,
    /// `max(x, 0)`. It is not analytic, so the theorems on injectivity do not apply.
    Relu,
}

impl Activation {
    /// Returns whether the function is analytic, as the theorems on injectivity assume.
    pub fn is_analytic(self) -> bool {
        match self {
            Activation::GeluTanh | Activation::GeluErf | Activation::Silu => true,
            Activation::Relu => false,
        }
    }
}

impl std::fmt::Display for Activation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Activation::GeluTanh => "gelu-tanh",
            Activation::GeluErf => "gelu",
            Activation::Silu => "silu",
            Activation::Relu => "relu",
        })
    }
}

impl FeedForwardKind {
    /// Returns the activation of the hidden layer.
    pub fn activation(self) -> Activation {
        match self {
            FeedForwardKind::Plain(activation) | FeedForwardKind::Gated(activation) => activation,
        }
    }

    /// Returns the same form with another activation.
    pub fn with_activation(self, activation: Activation) -> Self {
        match self {
            FeedForwardKind::Plain(_) => FeedForwardKind::Plain(activation),
            FeedForwardKind::Gated(_) => FeedForwardKind::Gated(activation),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_activation_has_one_name_in_text_and_in_json() {
        for activation in [Activation::GeluTanh, Activation::GeluErf, Activation::Silu, Activation::Relu] {
            let json = serde_json::to_value(activation).unwrap();
            assert_eq!(json, activation.to_string());
            assert_eq!(serde_json::from_value::<Activation>(json).unwrap(), activation);
        }
    }
}
