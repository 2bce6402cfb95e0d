//! Python literals, and named lists of values that functions process.

use super::{Parameter, Random};

pub(super) fn quoted(text: &str) -> String {
    format!("\"{text}\"")
}

pub(super) fn truth(value: bool) -> String {
    if value { "True".into() } else { "False".into() }
}

pub(super) fn list<T: ToString>(values: &[T]) -> String {
    let values: Vec<String> = values.iter().map(T::to_string).collect();
    format!("[{}]", values.join(", "))
}

pub(super) fn texts(values: &[impl AsRef<str>]) -> String {
    let values: Vec<String> = values.iter().map(|value| quoted(value.as_ref())).collect();
    list(&values)
}

/// Returns a dict literal whose keys are text. The values are given as source code.
pub(super) fn dict(entries: &[(&str, impl ToString)]) -> String {
    let entries: Vec<String> =
        entries.iter().map(|(key, value)| format!("\"{key}\": {}", value.to_string())).collect();
    format!("{{{}}}", entries.join(", "))
}

pub(super) fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_ascii_uppercase() + rest
}

/// A Python value: its type hint and its literal.
pub(super) struct Value {
    pub(super) hint: &'static str,
    pub(super) literal: String,
}

impl Value {
    pub(super) fn new(hint: &'static str, literal: String) -> Self {
        Self { hint, literal }
    }

    pub(super) fn number(value: impl ToString) -> Self {
        Self::new("int", value.to_string())
    }

    pub(super) fn text(value: &str) -> Self {
        Self::new("str", quoted(value))
    }

    pub(super) fn truth(value: bool) -> Self {
        Self::new("bool", truth(value))
    }

    pub(super) fn numbers(values: &[i64]) -> Self {
        Self::new("list[int]", list(values))
    }

    pub(super) fn texts(values: &[impl AsRef<str>]) -> Self {
        Self::new("list[str]", texts(values))
    }

    pub(super) fn counts(entries: &[(&str, impl ToString)]) -> Self {
        Self::new("dict[str, int]", dict(entries))
    }
}

/// A named list of numbers. `one` is the name of an item and `many` that of the list.
pub(super) struct Numbers {
    pub(super) one: &'static str,
    pub(super) many: String,
    pub(super) values: Vec<i64>,
}

impl Numbers {
    pub(super) fn draw(random: &mut Random) -> Self {
        // None of these names is used for something else in the functions.
        let one = random.word(
            "price|score|number|age|weight|length|distance|point|value|level|mark|step|speed|size|\
             cost|amount|width|grade|height|depth|reading|delay|rate|item|offset|reward",
        );
        let high = *random.pick(&[9, 12, 20, 50, 99]);
        let values = (0..random.between(3, 7)).map(|_| random.between(1, high)).collect();
        Self { one, many: format!("{one}s"), values }
    }

    pub(super) fn parameter(&self) -> Parameter {
        Parameter::new(self.many.clone(), Value::numbers(&self.values))
    }
}

/// A named list of words.
pub(super) struct Texts {
    pub(super) one: &'static str,
    pub(super) many: String,
    pub(super) values: Vec<&'static str>,
}

pub(super) const NAMES: &str = "Ada|Tom|Mara|Ben|Lucy|Otto|Nora|Hugo|Vera|Max|Iris|Paul|Greta|Leo|\
    Clara|Emil|Rosa|Karl|Jana|Felix";
pub(super) const TOWNS: &str =
    "Lisbon|Oslo|Porto|Turin|Basel|Cork|Ghent|Kyoto|Lima|Quito|Riga|Tunis|Perth|Split";

pub(super) const POOLS: &[(&str, &str)] = &[
    ("name", NAMES),
    ("word", "apple|tree|river|stone|level|house|cloud|noon|paper|light|radar|bread|night|song"),
    ("town", TOWNS),
    ("color", "red|green|blue|yellow|white|black|orange|purple|brown|pink|gray|gold|silver"),
    ("fruit", "apple|pear|plum|cherry|fig|grape|lemon|melon|peach|orange|banana|mango|olive"),
    ("animal", "cat|dog|horse|owl|fox|crow|goose|mouse|sheep|otter|eagle|rabbit|wolf|hen"),
    ("tool", "saw|hammer|drill|spade|file|chisel|needle|ladder|wrench|level|rake|axe|anvil"),
    ("plant", "rose|fern|moss|oak|ivy|maple|tulip|clover|birch|lily|thyme|mint|poppy|aspen"),
];

impl Texts {
    pub(super) fn draw(random: &mut Random) -> Self {
        let (one, pool) = *random.pick(POOLS);
        let count = random.between(3, 6) as usize;
        Self { one, many: format!("{one}s"), values: random.words(pool, count) }
    }

    pub(super) fn parameter(&self) -> Parameter {
        Parameter::new(self.many.clone(), Value::texts(&self.values))
    }

    /// Returns the words, each with a number.
    pub(super) fn entries(&self, random: &mut Random) -> Vec<(&'static str, i64)> {
        self.values.iter().map(|&word| (word, random.between(1, 30))).collect()
    }
}
