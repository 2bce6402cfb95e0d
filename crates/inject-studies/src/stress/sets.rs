//! The sets of similar prompts.

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
    /// A text, and the same text with one blank or one mark of punctuation changed. Of prompts as token ids: with one token changed,
    /// doubled or left out, or two exchanged.
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

/// Makes up to `count` similar texts. Near-duplicates, trailing newlines and common endings are made from `texts`. The other kinds
/// do not use `texts`.
pub fn stress_texts(kind: StressKind, texts: &[String], count: usize) -> Vec<String> {
    match kind {
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
    }
}

/// Makes up to `count` similar prompts from prompts that are given as token ids. Returns `None` for the kinds that only texts have.
/// The common ending is the first prompt.
pub fn stress_ids(kind: StressKind, prompts: &[Vec<u32>], count: usize) -> Option<Vec<Vec<u32>>> {
    match kind {
        StressKind::SameNextToken | StressKind::Separators | StressKind::TrailingNewlines => None,
        StressKind::CommonEnding => {
            let (ending, beginnings) = prompts.split_first()?;
            let prompt = |begin: &Vec<u32>| [begin.as_slice(), ending].concat();
            Some(beginnings.iter().map(prompt).take(count).collect())
        }
        StressKind::NearDuplicates => {
            Some(prompts.iter().flat_map(|ids| near_duplicates_of_ids(ids)).take(count).collect())
        }
    }
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

/// The prompt, and the same with one token doubled, left out or taken from elsewhere in it, or with two exchanged.
fn near_duplicates_of_ids(ids: &[u32]) -> Vec<Vec<u32>> {
    let (Some(&first), Some(&last)) = (ids.first(), ids.last()) else { return Vec::new() };
    let middle = ids.len() / 2;
    let changed = |change: &dyn Fn(&mut Vec<u32>)| {
        let mut ids = ids.to_vec();
        change(&mut ids);
        ids
    };
    let mut found = vec![
        ids.to_vec(),
        changed(&|ids| ids.insert(0, first)),
        changed(&|ids| ids.push(last)),
        changed(&|ids| ids.insert(middle, ids[middle])),
        changed(&|ids| ids[middle] = first),
        changed(&|ids| ids[middle] = last),
    ];
    if ids.len() > 1 {
        found.extend([
            changed(&|ids| ids.truncate(ids.len() - 1)),
            changed(&|ids| {
                ids.remove(middle);
            }),
            changed(&|ids| ids.swap(middle - 1, middle)),
        ]);
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_kind_gives_as_many_prompts_as_asked_and_only_near_duplicates_may_repeat() {
        let texts: Vec<String> = (0..60).map(|i| format!("Text number {i}, with a comma.")).collect();
        for kind in StressKind::ALL {
            let count = if kind == StressKind::CommonEnding { 60 } else { 200 };
            let found = stress_texts(kind, &texts, count);
            let different: HashSet<&String> = found.iter().collect();
            assert_eq!((found.len(), different.len()), (count, count), "{kind}");
        }
    }

    #[test]
    fn similar_prompts_of_ids_differ_in_one_place_or_end_alike() {
        let prompts = [vec![1, 2, 3, 4], vec![5], vec![6, 7]];
        let near = stress_ids(StressKind::NearDuplicates, &prompts, 100).unwrap();
        assert_eq!(near.len(), 9 + 6 + 9);
        assert!(near[..9].iter().all(|ids| (3..=5).contains(&ids.len())), "{near:?}");
        assert_eq!(near[..9].iter().collect::<HashSet<_>>().len(), 9);
        assert_eq!(near[8], [1, 3, 2, 4]);
        let ending = stress_ids(StressKind::CommonEnding, &prompts, 100).unwrap();
        assert_eq!(ending, [vec![5, 1, 2, 3, 4], vec![6, 7, 1, 2, 3, 4]]);
        assert_eq!(stress_ids(StressKind::Separators, &prompts, 100), None);
        assert_eq!(stress_ids(StressKind::CommonEnding, &[], 100), None);
    }

    #[test]
    fn prompts_with_the_same_next_token_end_alike() {
        let texts = stress_texts(StressKind::SameNextToken, &[], 50);
        assert!(texts.iter().all(|text| text.ends_with("sea ->")));
    }
}
