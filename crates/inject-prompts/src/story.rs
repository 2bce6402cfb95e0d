//! Short stories: chooses the beats of a theme, then tells them one by one.

use super::random::Random;
use super::telling::Telling;
use super::themes::{BETWEEN, Beat, CLOSING, Keep, OPENING, THEMES};

/// The smallest and the largest number of sentences in a story.
const SENTENCES: (usize, usize) = (3, 12);

/// Returns a story, sentence by sentence.
pub(super) fn sentences(random: &mut Random) -> Vec<String> {
    let theme = *random.pick(THEMES);
    let plan = plan(random, theme);
    let mut telling = Telling::new(random);
    plan.into_iter().map(|way| telling.tell(way)).collect()
}

/// Returns the grammar of each sentence to tell: all sentences that the theme requires, and as many of the others as fit into a
/// drawn length.
fn plan(random: &mut Random, theme: &'static [Beat]) -> Vec<&'static str> {
    let needed = theme.iter().filter(|beat| beat.keep == Keep::Always).count();
    let (fewest, most) = SENTENCES;
    let length = random.between(fewest as i64, most as i64) as usize;
    let mut room = length.saturating_sub(1 + needed);

    let closing = room > 0 && random.chance(70);
    room -= usize::from(closing);
    let mut told = vec![*random.pick(OPENING.ways)];
    // A sentence may be inserted everywhere except before an answer.
    let mut gaps = Vec::new();
    let mut previous_told = false;
    for (at, beat) in theme.iter().enumerate() {
        let answered = theme.get(at + 1).is_some_and(|next| next.keep == Keep::WithPrevious);
        let space = 1 + usize::from(answered);
        let tells = match beat.keep {
            Keep::Always => true,
            Keep::IfRoom => room >= space && random.chance(65),
            Keep::WithPrevious => previous_told,
        };
        if tells {
            if beat.keep == Keep::IfRoom {
                room -= space;
            }
            if beat.keep != Keep::WithPrevious {
                gaps.push(told.len());
            }
            told.push(*random.pick(beat.ways));
        }
        previous_told = tells;
    }
    gaps.push(told.len());
    // Only a few asides are inserted, so that they do not dominate a short theme. They are inserted from the last gap to the
    // first, so that the positions of the remaining gaps do not change.
    let first = random.below(BETWEEN.len());
    let mut asides = room.min(gaps.len()).min(4);
    while let Some(gap) = gaps.pop() {
        if asides > 0 && random.below(gaps.len() + 1) < asides {
            told.insert(gap, BETWEEN[(first + 5 * asides) % BETWEEN.len()]);
            asides -= 1;
        }
    }
    if closing {
        told.push(*random.pick(CLOSING));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some_stories() -> Vec<Vec<String>> {
        let mut random = Random::new(11);
        (0..3000).map(|_| sentences(&mut random)).collect()
    }

    #[test]
    fn every_length_from_three_to_twelve_sentences_occurs_and_no_other() {
        let mut seen = [0; 13];
        for story in some_stories() {
            seen[story.len()] += 1;
        }
        assert_eq!(seen[..3], [0; 3]);
        assert!(seen[3..].iter().all(|&times| times > 0), "{seen:?}");
    }

    #[test]
    fn every_sentence_is_fully_expanded_and_begins_with_a_capital() {
        for sentence in some_stories().concat() {
            assert!(!sentence.contains(['{', '}', '|']), "{sentence}");
            assert!(!sentence.contains("  "), "{sentence}");
            let first = sentence.trim_start_matches('"').chars().next();
            assert!(first.is_some_and(|c| c.is_ascii_uppercase() || c.is_ascii_digit()), "{sentence}");
        }
    }

    #[test]
    fn every_way_of_the_grammar_can_be_told() {
        let mut random = Random::new(12);
        let beats = THEMES.iter().flat_map(|theme| theme.iter()).chain([&OPENING]);
        let ways: Vec<&str> =
            beats.flat_map(|beat| beat.ways).chain(BETWEEN).chain(CLOSING).copied().collect();
        for way in ways {
            for _ in 0..20 {
                let told = Telling::new(&mut random).tell(way);
                assert!(told.ends_with(['.', '!', '?', '"']), "{told}");
            }
        }
    }
}
