//! The modules that an adapter's settings select. PEFT changes these and passes over the tensors of others.
//!
//! # Source
//!
//! PEFT 0.21.2, `tuners/tuners_utils.py` (`check_target_module_exists`, `_maybe_include_all_linear_layers`) and
//! `tuners/lora/config.py`.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{
    AdapterError, Module,
    pattern::Pattern,
    settings::{or, setting},
};
use crate::families::{Family, Ignored, Names};

/// The value of `target_modules` that stands for every linear map but the head.
const ALL_LINEAR: &str = "all-linear";

/// The number of names from which on PEFT replaces them by their endings (`MIN_TARGET_MODULES_FOR_OPTIMIZATION`).
const CONDENSED: usize = 20;

/// The modules that change.
#[derive(Debug)]
pub(super) struct Selection {
    targets: Targets,
    excluded: Modules,
    /// Those that are replaced as a whole. They have no factors.
    saved: Vec<Pattern>,
}

#[derive(Debug)]
enum Targets {
    AllLinear,
    These(Box<Modules>, Option<Layers>),
}

#[derive(Debug)]
enum Modules {
    /// Those with these paths, and those whose paths end with these names after a dot.
    Named(BTreeSet<String>),
    Fitting(Pattern),
}

/// The layers whose modules change, unless a module is named by its whole path.
#[derive(Debug)]
struct Layers {
    numbers: Vec<i64>,
    /// Expressions that find the number in a path. The first that fits counts.
    places: Vec<Pattern>,
}

impl Selection {
    /// The regular expressions of the choice.
    pub(super) fn expressions(map: &Map<String, Value>) -> impl Iterator<Item = &str> {
        let alone = ["target_modules", "exclude_modules", "layers_pattern"];
        let listed = ["modules_to_save", "layers_pattern"];
        let lists = listed.into_iter().filter_map(|key| map.get(key)?.as_array()).flatten();
        alone.into_iter().filter_map(|key| map.get(key)).chain(lists).filter_map(Value::as_str)
    }

    /// Takes the settings of the choice.
    pub(super) fn take(map: &mut Map<String, Value>, faults: &mut Vec<AdapterError>) -> Self {
        const KEYS: [&str; 5] =
            ["target_modules", "exclude_modules", "modules_to_save", "layers_to_transform", "layers_pattern"];
        let [targets, excluded, saved, numbers, pattern] =
            KEYS.map(|key| map.remove(key).unwrap_or_default());
        let layers = or(faults, Layers::new(&numbers, &pattern), None);
        if targets.is_string() && layers.is_some() {
            let expected = "null beside a `target_modules` that is a text: PEFT refuses both";
            faults.push(setting("layers_to_transform", &numbers, expected));
        }
        if layers.is_some() && targets.as_array().is_some_and(|names| names.len() >= CONDENSED) {
            let expected = "null beside 20 or more `target_modules`: PEFT shortens so many, and then no layer is named whole";
            faults.push(setting("layers_to_transform", &numbers, expected));
        }
        Selection {
            targets: or(faults, Targets::new(&targets, layers), Targets::AllLinear),
            excluded: or(faults, modules("exclude_modules", &excluded), Modules::none()),
            saved: or(faults, saved_modules(&saved), Vec::new()),
        }
    }

    /// Returns whether a module changes by its factors.
    ///
    /// # Errors
    ///
    /// Fails if an expression takes too many steps.
    pub(super) fn has(&self, path: &str, module: Module) -> Result<bool, AdapterError> {
        if self.excluded.have(path)? || self.saves(path)? {
            return Ok(false);
        }
        match &self.targets {
            Targets::AllLinear => Ok(module == Module::Linear && !is_head(path)),
            Targets::These(modules, None) => modules.have(path),
            Targets::These(modules, Some(layers)) => {
                Ok(modules.name(path) || (modules.have(path)? && layers.have(path)?))
            }
        }
    }

    /// Returns whether a module is replaced as a whole.
    ///
    /// # Errors
    ///
    /// Fails if an expression takes too many steps.
    pub(super) fn saves(&self, path: &str) -> Result<bool, AdapterError> {
        for pattern in &self.saved {
            if pattern.fits(path)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Targets {
    fn new(value: &Value, layers: Option<Layers>) -> Result<Self, AdapterError> {
        const KEY: &str = "target_modules";
        match value {
            Value::Null => {
                let expected = "the modules that change: PEFT chooses some by itself if none are named";
                Err(setting(KEY, value, expected))
            }
            Value::String(text) if text.eq_ignore_ascii_case(ALL_LINEAR) => Ok(Targets::AllLinear),
            value => Ok(Targets::These(Box::new(modules(KEY, value)?), layers)),
        }
    }
}

impl Modules {
    fn none() -> Self {
        Modules::Named(BTreeSet::new())
    }

    fn have(&self, path: &str) -> Result<bool, AdapterError> {
        match self {
            Modules::Named(names) => {
                let mut ends = path.match_indices('.').map(|(dot, _)| &path[dot + 1..]);
                Ok(names.contains(path) || ends.any(|end| names.contains(end)))
            }
            Modules::Fitting(pattern) => pattern.fits(path),
        }
    }

    /// Whether the whole path is one of the names.
    fn name(&self, path: &str) -> bool {
        match self {
            Modules::Named(names) => names.contains(path),
            Modules::Fitting(_) => false,
        }
    }
}

impl Layers {
    fn new(layers: &Value, pattern: &Value) -> Result<Option<Self>, AdapterError> {
        const KEY: &str = "layers_pattern";
        let patterns = match pattern {
            Value::Null => Vec::new(),
            Value::String(text) if text.is_empty() => Vec::new(),
            Value::String(text) => vec![text.clone()],
            other => texts(KEY, other, "a text or a list of texts")?,
        };
        let numbers = match layers {
            Value::Null => Some(Vec::new()),
            Value::Array(values) => values.iter().map(Value::as_i64).collect(),
            value => value.as_i64().map(|number| vec![number]),
        };
        let numbers = numbers.ok_or_else(|| {
            setting("layers_to_transform", layers, "the number of a layer, or a list of numbers")
        })?;
        if layers.is_null() && !patterns.is_empty() {
            return Err(setting(KEY, pattern, "null beside a `layers_to_transform` that is null"));
        }
        if numbers.is_empty() {
            return Ok(None);
        }
        let place = |pattern: &String| Pattern::new(KEY, pattern, [r"(?:^|.*?\.)", r"\.(?P<idx>\d+)\."]);
        let places = match patterns.as_slice() {
            [] => vec![Pattern::new(KEY, "", [r".*?\.[^.]*\.(?P<idx>\d+)\.", ""])?],
            patterns => patterns.iter().map(place).collect::<Result<_, _>>()?,
        };
        Ok(Some(Layers { numbers, places }))
    }

    fn have(&self, path: &str) -> Result<bool, AdapterError> {
        for place in &self.places {
            if let Some(found) = place.captures(path)? {
                let number = found.name("idx").and_then(|number| number.as_str().parse::<i64>().ok());
                return Ok(number.is_some_and(|number| self.numbers.contains(&number)));
            }
        }
        Ok(false)
    }
}

/// The modules that a list of names or an expression means.
fn modules(key: &'static str, value: &Value) -> Result<Modules, AdapterError> {
    Ok(match value {
        Value::Null => Modules::none(),
        Value::String(text) if text.is_empty() => Modules::none(),
        Value::String(text) => Modules::Fitting(Pattern::of_whole_path(key, text)?),
        other => Modules::Named(
            texts(key, other, "a list of names, or one regular expression")?.into_iter().collect(),
        ),
    })
}

/// The expressions for the modules that are replaced, and for those within them.
fn saved_modules(value: &Value) -> Result<Vec<Pattern>, AdapterError> {
    const KEY: &str = "modules_to_save";
    let names = if value.is_null() { Vec::new() } else { texts(KEY, value, "a list of names")? };
    names.iter().map(|name| Pattern::new(KEY, name, [r"(^|.*\.)", r"($|\..*)"])).collect()
}

fn texts(key: &str, value: &Value, expected: &'static str) -> Result<Vec<String>, AdapterError> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let texts = value.as_array().and_then(|values| values.iter().map(text).collect());
    texts.ok_or_else(|| setting(key, value, expected))
}

/// Whether a module is the head of a language model or of a task.
fn is_head(path: &str) -> bool {
    let weight = format!("{path}.weight");
    weight == Names::HEAD_OF_CLASSES
        || Family::all().iter().any(|family| family.names().head == weight)
        || Ignored::IN_EVERY_FAMILY.iter().any(|pattern| pattern.matches(&weight))
}
