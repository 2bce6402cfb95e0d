//! The shapes of published models.

use std::{fmt, path::Path, str::FromStr};

use crate::{config::DecoderConfig, families::describe};

crate::listed! {
    /// The shape of a published model: every setting of its `config.json`, and no weights.
    ///
    /// Of the multimodal Gemma 3 models it is the text part.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_models::PublishedShape;
    ///
    /// let shape: PublishedShape = "llama-3.1-8b".parse()?;
    /// assert_eq!(shape.config().n_parameters(), 8_030_261_248);
    /// # Ok::<(), inject_models::random_checkpoint::UnknownShape>(())
    /// ```
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    #[non_exhaustive]
    pub enum PublishedShape {
        /// GPT-2 small: 124 million parameters.
        Gpt2,
        /// GPT-2 medium: 355 million parameters.
        Gpt2Medium,
        /// GPT-2 large: 774 million parameters.
        Gpt2Large,
        /// TinyStories-33M, a GPT-Neo model of 69 million parameters with its embeddings.
        TinyStories33m,
        /// SmolLM2-135M, a Llama model of 135 million parameters.
        SmolLm2_135m,
        /// Gemma 3 270M: 268 million parameters.
        Gemma3_270m,
        /// Gemma 3 1B: 1.0 billion parameters.
        Gemma3_1b,
        /// The text part of Gemma 3 4B: 3.9 billion parameters.
        Gemma3_4b,
        /// The text part of Gemma 3 12B: 11.8 billion parameters.
        Gemma3_12b,
        /// Phi-4-mini: 3.8 billion parameters.
        Phi4Mini,
        /// Mistral-7B-v0.1: 7.2 billion parameters.
        Mistral7b,
        /// Llama-3.1-8B: 8.0 billion parameters.
        Llama3_1_8b,
    }

    /// Every shape, by the number of parameters within each family.
    const ALL;
}

/// A text that names no published shape.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown shape `{found}`: expected {expected}")]
#[non_exhaustive]
pub struct UnknownShape {
    /// The text that was given.
    pub found: String,
    /// The names of all shapes, separated by commas.
    pub expected: String,
}

impl PublishedShape {
    /// Returns every shape, by the number of parameters within each family.
    pub fn all() -> &'static [PublishedShape] {
        Self::ALL
    }

    /// Returns the name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            PublishedShape::Gpt2 => "gpt2",
            PublishedShape::Gpt2Medium => "gpt2-medium",
            PublishedShape::Gpt2Large => "gpt2-large",
            PublishedShape::TinyStories33m => "tinystories-33m",
            PublishedShape::SmolLm2_135m => "smollm2-135m",
            PublishedShape::Gemma3_270m => "gemma-3-270m",
            PublishedShape::Gemma3_1b => "gemma-3-1b",
            PublishedShape::Gemma3_4b => "gemma-3-4b",
            PublishedShape::Gemma3_12b => "gemma-3-12b",
            PublishedShape::Phi4Mini => "phi-4-mini",
            PublishedShape::Mistral7b => "mistral-7b",
            PublishedShape::Llama3_1_8b => "llama-3.1-8b",
        }
    }

    /// Returns the text of the `config.json`, as Hugging Face transformers writes it.
    pub fn config_json(self) -> &'static str {
        match self {
            PublishedShape::Gpt2 => include_str!("../../shapes/gpt2.json"),
            PublishedShape::Gpt2Medium => include_str!("../../shapes/gpt2-medium.json"),
            PublishedShape::Gpt2Large => include_str!("../../shapes/gpt2-large.json"),
            PublishedShape::TinyStories33m => include_str!("../../shapes/tinystories-33m.json"),
            PublishedShape::SmolLm2_135m => include_str!("../../shapes/smollm2-135m.json"),
            PublishedShape::Gemma3_270m => include_str!("../../shapes/gemma-3-270m.json"),
            PublishedShape::Gemma3_1b => include_str!("../../shapes/gemma-3-1b.json"),
            PublishedShape::Gemma3_4b => include_str!("../../shapes/gemma-3-4b.json"),
            PublishedShape::Gemma3_12b => include_str!("../../shapes/gemma-3-12b.json"),
            PublishedShape::Phi4Mini => include_str!("../../shapes/phi-4-mini.json"),
            PublishedShape::Mistral7b => include_str!("../../shapes/mistral-7b.json"),
            PublishedShape::Llama3_1_8b => include_str!("../../shapes/llama-3.1-8b.json"),
        }
    }

    /// Returns the layers and widths.
    pub fn config(self) -> DecoderConfig {
        let described = describe(Path::new("config.json"), self.config_json());
        described.expect("the config of a published model").description.config
    }
}

impl fmt::Display for PublishedShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for PublishedShape {
    type Err = UnknownShape;

    fn from_str(text: &str) -> Result<Self, UnknownShape> {
        PublishedShape::all().iter().copied().find(|shape| shape.name() == text).ok_or_else(|| UnknownShape {
            found: text.to_owned(),
            expected: PublishedShape::all().iter().map(|shape| shape.name()).collect::<Vec<_>>().join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Family, note::Note};

    /// The sums of the tensor sizes of the published safetensors files. Those of Gemma 3 4B and 12B are 4,300,079,472 and
    /// 12,187,325,040, less 419,816,304 and 421,290,864 of the vision tower and its projector.
    #[test]
    fn every_shape_has_the_published_number_of_parameters() {
        let published = [
            (PublishedShape::Gpt2, 124_439_808),
            (PublishedShape::Gpt2Medium, 354_823_168),
            (PublishedShape::Gpt2Large, 774_030_080),
            (PublishedShape::TinyStories33m, 68_514_048),
            (PublishedShape::SmolLm2_135m, 134_515_008),
            (PublishedShape::Gemma3_270m, 268_098_176),
            (PublishedShape::Gemma3_1b, 999_885_952),
            (PublishedShape::Gemma3_4b, 4_300_079_472 - 419_816_304),
            (PublishedShape::Gemma3_12b, 12_187_325_040 - 421_290_864),
            (PublishedShape::Phi4Mini, 3_836_021_760),
            (PublishedShape::Mistral7b, 7_241_732_096),
            (PublishedShape::Llama3_1_8b, 8_030_261_248),
        ];
        assert_eq!(published.map(|(shape, _)| shape), PublishedShape::all());
        for (shape, expected) in published {
            assert_eq!(shape.config().n_parameters(), expected, "{shape}");
        }
    }

    #[test]
    fn every_key_of_a_config_is_read_or_known_to_be_without_influence() {
        for &shape in PublishedShape::all() {
            let described = describe(Path::new("config.json"), shape.config_json()).unwrap();
            let unread = described.notes.iter().find(|note| matches!(note, Note::UnreadKeys { .. }));
            assert!(unread.is_none(), "{shape}: {unread:?}");
        }
    }

    #[test]
    fn families_are_those_of_the_names() {
        let family = |shape: PublishedShape| {
            describe(Path::new("config.json"), shape.config_json()).unwrap().description.family
        };
        assert_eq!(family(PublishedShape::TinyStories33m), Family::GptNeo);
        assert_eq!(family(PublishedShape::Mistral7b), Family::Mistral);
        assert_eq!(family(PublishedShape::Phi4Mini), Family::Phi3);
        assert_eq!(family(PublishedShape::Gemma3_12b), Family::Gemma3);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let error = "llama".parse::<PublishedShape>().unwrap_err().to_string();
        assert!(error.starts_with("unknown shape `llama`: expected gpt2, gpt2-medium, "), "{error}");
        for &shape in PublishedShape::all() {
            assert_eq!(shape.to_string().parse(), Ok(shape));
        }
    }
}
