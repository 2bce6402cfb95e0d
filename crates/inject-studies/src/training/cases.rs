//! Prompts that collide under degenerate initial weights, and the expected effect of training.

use std::collections::BTreeMap;

use inject_sipit::models::{DecoderConfig, Tap, config::LearnedPositions};

use super::DegenerateStart;
use crate::{error::StudyError, tuning::CASE_PAIRS as PAIRS};

/// The effect of training on a collision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub enum Fate {
    /// The states stay as close together as two computations of one state.
    Kept,
    /// The distance of the states exceeds what two computations of one state can differ by.
    Dissolved,
}

impl Fate {
    /// Returns the name, as JSON has it.
    pub fn name(self) -> &'static str {
        match self {
            Fate::Kept => "kept",
            Fate::Dissolved => "dissolved",
        }
    }
}

/// Prompts that collide at a degenerate start.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(deny_unknown_fields))]
#[non_exhaustive]
pub struct DegenerateCase {
    /// The degenerate start of the weights.
    pub start: DegenerateStart,
    /// The prompts that are compared, in words.
    pub prompts: String,
    /// Pairs of prompts, as token ids.
    pub pairs: Vec<[Vec<u32>; 2]>,
    /// The taps at which each pair collides.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<crate::schema::Tap>"))]
    pub taps: Vec<Tap>,
    /// The effect that a step of gradient descent should have.
    pub expected: Fate,
    /// The reason to expect this effect.
    #[serde(alias = "why")]
    pub reason: String,
}

/// Returns every case that is possible with this decoder and text. `windows` are the training text. Their last tokens are not
/// inputs.
///
/// # Errors
///
/// [`StudyError::TooFew`] if the text does not contain two frequent tokens or enough different windows, or if the vocabulary does
/// not contain two tokens that never occur in it.
pub fn degenerate_cases(
    config: &DecoderConfig,
    windows: &[Vec<u32>],
) -> Result<Vec<DegenerateCase>, StudyError> {
    let text = Text::new(config, windows)?;
    let mut cases = text.equal_embeddings();
    if let LearnedPositions::Table { max_len } = config.embedding.positions {
        cases.extend(text.equal_positions(max_len));
    }
    cases.extend(text.zeros());
    Ok(cases)
}

/// The text from which the cases are built.
struct Text<'a> {
    windows: &'a [Vec<u32>],
    n_layers: usize,
    /// The two most frequent tokens.
    frequent: [u32; 2],
    /// The first two tokens of the vocabulary that never occur.
    absent: [u32; 2],
}

impl<'a> Text<'a> {
    fn new(config: &DecoderConfig, windows: &'a [Vec<u32>]) -> Result<Self, StudyError> {
        let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
        windows.iter().flatten().for_each(|&id| *counts.entry(id).or_default() += 1);
        let mut by_count: Vec<(u32, usize)> = counts.iter().map(|(&id, &count)| (id, count)).collect();
        by_count.sort_by_key(|&(id, count)| (std::cmp::Reverse(count), id));
        let too_few = |what, found, expected| StudyError::TooFew { what, found, expected };
        let [(a, _), (b, _)] = by_count[..by_count.len().min(2)] else {
            return Err(too_few("different tokens in the training windows", by_count.len(), 2));
        };
        let mut absent = (0..config.vocab_size as u32).filter(|id| !counts.contains_key(id));
        let (Some(c), Some(d)) = (absent.next(), absent.next()) else {
            return Err(too_few(
                "tokens that the training windows lack",
                config.vocab_size - counts.len(),
                2,
            ));
        };
        let long = windows.iter().filter(|ids| ids.len() > PAIRS + 2).count();
        if long < PAIRS + 1 {
            return Err(too_few("training windows of 11 tokens and more", long, PAIRS + 1));
        }
        Ok(Text { windows, n_layers: config.n_layers(), frequent: [a, b], absent: [c, d] })
    }

    fn long(&self) -> impl Iterator<Item = &'a [u32]> {
        self.windows.iter().filter(|ids| ids.len() > PAIRS + 2).map(Vec::as_slice)
    }

    /// Returns every tap of the decoder.
    fn all(&self) -> Vec<Tap> {
        Tap::all(self.n_layers)
    }

    /// Returns every tap but the embedding, which depends only on the last token and its position.
    fn after_attention(&self) -> Vec<Tap> {
        self.all().into_iter().filter(|&tap| tap != Tap::Embedding).collect()
    }

    fn equal_embeddings(&self) -> Vec<DegenerateCase> {
        let [a, b] = self.frequent;
        let [c, d] = self.absent;
        // Each prompt consists of a prefix of one to eight tokens, one of the two tokens, and the following tokens, if any.
        let pairs = |[a, b]: [u32; 2], following: &[u32]| {
            let pair = |(number, ids): (usize, &[u32])| {
                let with = |id: u32| [&ids[..=number], &[id], following].concat();
                [with(a), with(b)]
            };
            self.long().take(PAIRS).enumerate().map(pair).collect::<Vec<_>>()
        };
        let case = |ids: [u32; 2], expected: Fate, prompts: &str, reason: &str| DegenerateCase {
            start: DegenerateStart::EqualEmbeddings { a: ids[0], b: ids[1] },
            prompts: prompts.to_owned(),
            pairs: pairs(ids, &[]),
            taps: self.all(),
            expected,
            reason: reason.to_owned(),
        };
        vec![
            case(
                [a, b],
                Fate::Dissolved,
                "end in one or the other, both frequent in the training text",
                "the tokens stand in different places of the text, so the gradients of their rows differ",
            ),
            DegenerateCase {
                pairs: pairs([a, b], &[self.windows[0][0]]),
                taps: self.after_attention(),
                ..case(
                    [a, b],
                    Fate::Dissolved,
                    "hold one or the other before the last token, both frequent",
                    "as before: what differs reaches the last token through attention",
                )
            },
            case(
                [a, d],
                Fate::Dissolved,
                "end in one or the other, of which the text holds only one",
                "the row of the one that occurs has a gradient as an input, the other has none; a tied head adds different \
                 gradients too",
            ),
            case(
                [c, d],
                Fate::Kept,
                "end in one or the other, of which the text holds neither",
                "as inputs the rows have no gradient; as rows of a tied head they are equally improbable everywhere and never \
                 right, so their gradients are equal",
            ),
        ]
    }

    fn equal_positions(&self, max_len: usize) -> Vec<DegenerateCase> {
        let repeated = |ids: &[u32]| {
            let times = |count: usize| vec![ids[0]; count];
            [[times(1), times(2)], [times(1), times(3)]]
        };
        // Swaps the two tokens before the last.
        let swapped = |mut ids: Vec<u32>| {
            let other = ids.clone();
            let len = ids.len();
            ids.swap(len - 3, len - 2);
            [other, ids]
        };
        let differ = |ids: &&[u32]| ids[0] != ids[1];
        let start = DegenerateStart::EqualPositions;
        let reached = self.windows.iter().map(|ids| ids.len() - 1).max().unwrap_or(0);
        let mut cases = vec![
            DegenerateCase {
                start,
                prompts: "are one token, the same twice, and three times".to_owned(),
                pairs: self.long().take(PAIRS / 2).flat_map(repeated).collect(),
                taps: self.all(),
                expected: Fate::Dissolved,
                reason: "each position sees other tokens in the text, so each row of positions has another gradient".to_owned(),
            },
            DegenerateCase {
                start,
                prompts: "have two tokens swapped before the last".to_owned(),
                pairs: self.long().filter(differ).take(PAIRS).map(|ids| swapped(ids[..3].to_vec())).collect(),
                taps: vec![Tap::Block(1)],
                expected: Fate::Dissolved,
                reason: "as before; deeper taps see the order even at the start, because causal attention does".to_owned(),
            },
        ];
        if reached + 3 <= max_len {
            let beyond = |ids: &[u32]| {
                let filled = ids.iter().cycle().skip(3).take(reached).chain(&ids[..3]).copied();
                swapped(filled.collect())
            };
            cases.push(DegenerateCase {
                start,
                prompts: "have two tokens swapped before the last, beyond every trained position".to_owned(),
                pairs: self.long().filter(differ).take(PAIRS).map(beyond).collect(),
                taps: vec![Tap::Block(1)],
                expected: Fate::Kept,
                reason: "no training window reaches these positions, so their rows have no gradient and stay equal".to_owned(),
            });
        }
        cases
    }

    fn zeros(&self) -> Vec<DegenerateCase> {
        // The prompts of a pair have the same length and last token, after different texts.
        let last = self.frequent[0];
        let windows: Vec<&[u32]> = self.long().collect();
        let pair = |number: usize| {
            let with = |ids: &[u32]| [&ids[..number + 2], &[last]].concat();
            let first = with(windows[number]);
            let other = windows.iter().map(|ids| with(ids)).find(|other| *other != first);
            other.map(|other| [first, other])
        };
        let pairs: Vec<_> = (0..PAIRS).filter_map(pair).collect();
        let different = windows.windows(2).take(PAIRS).enumerate();
        let any =
            different.map(|(number, two)| [two[0][..number + 1].to_vec(), two[1][..number + 2].to_vec()]);
        let prompts = "have the same length and the same last token, and nothing else in common";
        vec![
            DegenerateCase {
                start: DegenerateStart::ZeroValues,
                prompts: prompts.to_owned(),
                pairs: pairs.clone(),
                taps: self.after_attention(),
                expected: Fate::Dissolved,
                reason: "the output projection is not zero, so the gradient of the values is not zero either".to_owned(),
            },
            DegenerateCase {
                start: DegenerateStart::ZeroValuesAndOutputs,
                prompts: prompts.to_owned(),
                pairs,
                taps: self.after_attention(),
                expected: Fate::Kept,
                reason: "a saddle: the gradient of each of the two holds the other as a factor, so both are zero for ever".to_owned(),
            },
            DegenerateCase {
                start: DegenerateStart::AllZero,
                prompts: "are any two".to_owned(),
                pairs: any.collect(),
                taps: self.all(),
                expected: Fate::Kept,
                reason: "every gradient holds a zero factor: the loss does not depend on any one weight, so none moves, by any rule"
                    .to_owned(),
            },
        ]
    }
}
