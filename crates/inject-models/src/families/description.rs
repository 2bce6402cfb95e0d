//! Reads a config.json: finds its family, has it translated, and collects all problems.

use std::path::Path;

use serde_json::{Map, Value};

use super::{
    Family, describe_family, family_of, json,
    keys::Keys,
    known_types,
    recognise::{model_type_named_in, own_keys},
};
use crate::{
    checkpoint::{read_text, unread_method},
    config::DecoderConfig,
    error::{ConfigProblem, ModelError},
    note::Note,
};

/// The contents of a config.json.
#[derive(Clone, Debug)]
pub(crate) struct Description {
    pub(crate) family: Family,
    pub(crate) config: DecoderConfig,
    /// As the file has it: perhaps not a token of the model.
    pub(super) bos_token_id: Option<i64>,
}

impl Description {
    /// Returns the BOS token. An id that is not a token of the model is noted, and the model has none.
    fn bos_token(&self, notes: &mut Vec<Note>) -> Option<u32> {
        let (found, vocab_size) = (self.bos_token_id?, self.config.vocab_size);
        let token = u32::try_from(found).ok().filter(|&id| (id as usize) < vocab_size);
        if token.is_none() {
            let key = "bos_token_id".to_owned();
            notes.push(Note::BosOutside { key, found, vocab_size });
        }
        token
    }
}

/// A description, and what its file says beside it.
#[derive(Clone, Debug)]
pub(crate) struct Described {
    pub(crate) description: Description,
    pub(crate) bos_token_id: Option<u32>,
    /// The `quantization_config`, if there is one.
    pub(crate) quantisation: Option<Map<String, Value>>,
    pub(crate) notes: Vec<Note>,
}

impl DecoderConfig {
    /// Reads the description of a decoder from the `config.json` of a checkpoint.
    ///
    /// # Errors
    ///
    /// Fails for keys that are missing or malformed or ask for a computation that this crate does not have. The error names
    /// them all. Keys that neither this crate nor Hugging Face transformers reads are ignored.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_models::DecoderConfig;
    ///
    /// # let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gpt2");
    /// let config = DecoderConfig::read(&folder.join("config.json"))?;
    /// assert_eq!((config.d_model, config.max_len()), (24, Some(48)));
    /// # Ok::<(), inject_models::ModelError>(())
    /// ```
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        Ok(describe(path, &read_text(path)?)?.description.config)
    }

    /// Parses the text of a `config.json`.
    ///
    /// # Errors
    ///
    /// Fails as [`DecoderConfig::read`] does. Errors call the file `config.json`.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_models::DecoderConfig;
    ///
    /// let text = r#"{ "model_type": "gpt2", "n_embd": 8, "n_head": 2, "n_layer": 1, "n_positions": 16, "vocab_size": 50 }"#;
    /// assert_eq!(DecoderConfig::parse(text)?.blocks[0].attention.d_head, 4);
    /// # Ok::<(), inject_models::ModelError>(())
    /// ```
    pub fn parse(text: &str) -> Result<Self, ModelError> {
        Ok(describe(Path::new("config.json"), text)?.description.config)
    }
}

/// Translates the text of a config.json.
///
/// # Errors
///
/// Fails with all problems of the file. They include a quantisation that is not read. By itself that is not an error here, because
/// the description of the model does not depend on it.
pub(crate) fn describe(path: &Path, text: &str) -> Result<Described, ModelError> {
    describe_in_part(path, text, Vec::new())
}

/// As [`describe`], for a text in which the values of some keys are stand-ins. Nothing is said of them, or of what follows from them.
pub(crate) fn describe_in_part(
    path: &Path,
    text: &str,
    unknown: Vec<&'static str>,
) -> Result<Described, ModelError> {
    let mut keys = Keys::new(json::parse(path, text)?);
    let findings = keys.findings();
    findings.leave_out(unknown);
    let (model_type, mut notes) = model_type(&mut keys);
    let family = model_type.and_then(|model_type| {
        let family = family_of(&model_type);
        if family.is_none() {
            keys.unknown_family(&model_type, known_types());
        }
        Some((family?, model_type))
    });
    let mut key_of_quantisation = "quantization_config";
    let mut quantisation = keys.optional::<Map<String, Value>>(key_of_quantisation);
    // transformers looks for it in the text part too, if there is none at the top.
    let is_composite = family.as_ref().is_some_and(|(_, model_type)| is_composite(model_type));
    if is_composite && quantisation.as_ref().is_none_or(Map::is_empty) {
        quantisation = keys.take_within("text_config", "quantization_config").or(quantisation);
        key_of_quantisation = "text_config.quantization_config";
    }
    // MLX has its settings under a key of its own, which transformers does not read.
    let of_mlx = keys.object("quantization").cloned();
    keys.own_code(family.as_ref().map(|(family, _)| *family));
    // transformers reads the weights from the file that this key names.
    keys.only("transformers_weights", "model.safetensors");
    let description = match family {
        Some((family, model_type)) => Some(describe_family(family, &model_type, keys)),
        None => {
            keys.refuse_announced();
            None
        }
    };
    let mut problems = findings.problems();
    if let (Some(description), []) = (description, problems.as_slice()) {
        let keys = findings.unread();
        if !keys.is_empty() {
            notes.push(Note::UnreadKeys { keys });
        }
        if findings.last_state_unnormed() {
            notes.push(Note::LastState);
        }
        let bos_token_id = description.bos_token(&mut notes);
        return Ok(Described { description, bos_token_id, quantisation, notes });
    }
    let announced = [(key_of_quantisation, quantisation), ("quantization", of_mlx)];
    let unread = announced.iter().find_map(|(key, config)| Some((key, unread_method(config.as_ref()?)?)));
    if let Some((key, method)) = unread {
        problems.push(ConfigProblem::Quantised { key: (*key).to_owned(), method: method.to_string() });
    }
    Err(ModelError::Config { path: path.to_owned(), problems })
}

/// Takes `model_type`, or finds it from the other keys, which is noted.
fn model_type(keys: &mut Keys) -> (Option<String>, Vec<Note>) {
    // transformers writes an empty one for a config without a class.
    if let Some(model_type) = keys.optional::<String>("model_type").filter(|found| !found.is_empty()) {
        return (Some(model_type), Vec::new());
    }
    match keys.guess_model_type() {
        Some((model_type, evidence)) => {
            (Some(model_type.to_owned()), vec![Note::FamilyGuessed { model_type, evidence }])
        }
        None => {
            keys.missing("model_type", &advice(keys));
            (None, Vec::new())
        }
    }
}

/// Returns whether the settings of the text part have an object of their own, `text_config`.
fn is_composite(model_type: &str) -> bool {
    model_type == "gemma3"
}

/// Returns the line to add to a file that does not say its `model_type`.
fn advice(keys: &Keys) -> String {
    let fits = fitting_types(keys);
    let named = keys.class_without_family();
    // A class of someone's own is often named after the class that it is made from.
    let named_after = named.and_then(model_type_named_in).filter(|found| fits.contains(found));
    let line = |model_type: &str| format!("add the line \"model_type\": \"{model_type}\"");
    let advice = match (named_after, fits.as_slice()) {
        (_, []) => return format!("one of {}: the file has no key that shows one of them", known_types()),
        (Some(model_type), _) | (None, &[model_type]) => line(model_type),
        (None, [first, others @ ..]) => {
            format!("{} or that of another whose keys these are, {}", line(first), others.join(", "))
        }
    };
    let class = named.map(|class| format!(", if `{class}` computes as one of them")).unwrap_or_default();
    format!("one of {}: {advice}{class}", known_types())
}

/// Returns the values of `model_type` with which the most of a file is read: the fewest keys that nobody reads, and then the fewest
/// problems. Those of which the file has no key of their own do not count: of a file without keys, every family reads all.
fn fitting_types(keys: &Keys) -> Vec<&'static str> {
    let types =
        Family::all().iter().flat_map(|&family| family.model_types().iter().map(move |of| (family, *of)));
    let types = types.filter(|(family, model_type)| {
        // A model of several parts has the keys of the others within one of them.
        let own = if is_composite(model_type) { &["mm_tokens_per_image"] } else { own_keys(*family) };
        own.iter().any(|key| keys.has(key))
    });
    let tried: Vec<([usize; 2], &str)> = types
        .map(|(family, model_type)| {
            let keys = keys.trial();
            let findings = keys.findings();
            describe_family(family, model_type, keys);
            ([findings.unread().len(), findings.count()], model_type)
        })
        .collect();
    let best = tried.iter().map(|(rest, _)| *rest).min();
    tried.into_iter().filter(|(rest, _)| Some(*rest) == best).map(|(_, model_type)| model_type).collect()
}
