//! The sets of similar prompts.

use super::StressSet;

/// The similarity of the prompts of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum StressKind {
    /// Prompts that differ in an earlier example and ask for the same next token.
    SameNextToken,
    /// The same examples with other separators between question and answer.
    Separators,
    /// A text, and the same text followed by one to eight line feeds.
    TrailingNewlines,
    /// Different beginnings, and the same end.
    CommonEnding,
    /// A text, and the same text with one blank or one mark of punctuation changed.
    NearDuplicates,
}

impl StressKind {
    /// Every kind, in the order of the results.
    pub const ALL: [StressKind; 5] = [
        StressKind::SameNextToken,
        StressKind::Separators,
        StressKind::TrailingNewlines,
        StressKind::CommonEnding,
        StressKind::NearDuplicates,
    ];
}

impl std::fmt::Display for StressKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            StressKind::SameNextToken => "same next token",
            StressKind::Separators => "separators",
            StressKind::TrailingNewlines => "trailing newlines",
            StressKind::CommonEnding => "common ending",
            StressKind::NearDuplicates => "near-duplicates",
        })
    }
}

/// The common ending of prompts with different beginnings.
///
/// # Source
///
/// arXiv 2510.15511 v4, appendix E.3, table 10.
const ENDING: &str = "Complete this: The quick brown fox jumps over the lazy";

/// The separators of arXiv 2510.15511 v4, appendix E.3, and three more.
const SEPARATORS: [&str; 7] = ["->", ":", "=", "-", "=>", "|", "~"];

/// Words and their translations, for prompts that give an example.
const WORDS: [(&str, &str); 24] = [
    ("sea", "mer"),
    ("house", "maison"),
    ("cat", "chat"),
    ("dog", "chien"),
    ("bread", "pain"),
    ("water", "eau"),
    ("night", "nuit"),
    ("day", "jour"),
    ("tree", "arbre"),
    ("book", "livre"),
    ("hand", "main"),
    ("door", "porte"),
    ("milk", "lait"),
    ("snow", "neige"),
    ("king", "roi"),
    ("moon", "lune"),
    ("sun", "soleil"),
    ("bird", "oiseau"),
    ("fish", "poisson"),
    ("wine", "vin"),
    ("fire", "feu"),
    ("salt", "sel"),
    ("rose", "rose"),
    ("wood", "bois"),
];

/// Makes a set of up to `count` prompts. Near-duplicates, trailing newlines and common endings are made from `texts`. The other
/// kinds do not use `texts`.
pub fn stress_set(kind: StressKind, texts: &[String], count: usize) -> StressSet {
    let texts: Vec<String> = match kind {
        StressKind::SameNextToken => by_example(&SEPARATORS[..1]).take(count).collect(),
        StressKind::Separators => by_example(&SEPARATORS).take(count).collect(),
        StressKind::TrailingNewlines => texts
            .iter()
            .flat_map(|text| {
                (0..=8).map(move |newlines| format!("{}{}", text.trim_end(), "\n".repeat(newlines)))
            })
            .take(count)
            .collect(),
        StressKind::CommonEnding => texts.iter().map(|text| format!("{text} {ENDING}")).take(count).collect(),
        StressKind::NearDuplicates => {
            texts.iter().flat_map(|text| near_duplicates(text)).take(count).collect()
        }
    };
    StressSet { kind, texts }
}

/// Returns prompts with one example of a translation each, followed by the same question. The answer is always the same.
fn by_example<'s>(separators: &'s [&'s str]) -> impl Iterator<Item = String> + 's {
    let pairs = (0..WORDS.len()).flat_map(|a| (0..WORDS.len()).map(move |b| (WORDS[a], WORDS[b])));
    let pairs = pairs.filter(|(a, b)| a != b && a.0 != "sea" && b.0 != "sea");
    pairs.flat_map(move |((a, a_french), (b, b_french))| {
        separators.iter().map(move |mark| format!("{a} {mark} {a_french}\n{b} {mark} {b_french}\nsea {mark}"))
    })
}

fn near_duplicates(text: &str) -> Vec<String> {
    let once = |from: &str, to: &str| text.replacen(from, to, 1);
    vec![
        text.to_owned(),
        format!(" {text}"),
        format!("{text} "),
        format!("{text}."),
        format!("{text}\t"),
        once(" ", "  "),
        once(",", ";"),
        once(".", "!"),
        once(".", "?"),
        once(" ", "\u{a0}"),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_kind_gives_as_many_prompts_as_asked_and_only_near_duplicates_may_repeat() {
        let texts: Vec<String> = (0..60).map(|i| format!("Text number {i}, with a comma.")).collect();
        for kind in StressKind::ALL {
            let set =
                stress_set(kind, &texts, 200.min(if kind == StressKind::CommonEnding { 60 } else { 200 }));
            let different: HashSet<&String> = set.texts.iter().collect();
            assert!(set.texts.len() == 200 || kind == StressKind::CommonEnding, "{kind}");
            assert_eq!(different.len(), set.texts.len(), "{kind}");
        }
    }

    #[test]
    fn prompts_with_the_same_next_token_end_alike() {
        let set = stress_set(StressKind::SameNextToken, &[], 50);
        assert!(set.texts.iter().all(|text| text.ends_with("sea ->")));
    }
}
