//! Functions that make or read a dict whose keys are words.

use super::values::{Texts, Value, dict, texts};
use super::{Function, Parameter, Random};

pub(super) const FUNCTIONS: &[fn(&mut Random) -> Function] =
    &[count_each, lengths, invert, look_up, total_cost, group];

fn count_each(random: &mut Random) -> Function {
    let Texts { one, many, mut values } = Texts::draw(random);
    let again = *random.pick(&values);
    values.push(again);
    let mut counts: Vec<(&str, i64)> = Vec::new();
    for word in &values {
        match counts.iter_mut().find(|(known, _)| known == word) {
            Some((_, count)) => *count += 1,
            None => counts.push((word, 1)),
        }
    }
    let body = match random.below(3) {
        0 => format!("return dict(Counter({many}))\n"),
        1 => format!(
            "counts = {{}}\nfor {one} in {many}:\n    counts[{one}] = counts.get({one}, 0) + 1\n\
             return counts\n"
        ),
        _ => format!(
            "counts = {{}}\nfor {one} in {many}:\n    if {one} in counts:\n        \
             counts[{one}] += 1\n    else:\n        counts[{one}] = 1\nreturn counts\n"
        ),
    };
    Function {
        name: format!("count_{many}"),
        parameters: vec![Parameter::new(many.clone(), Value::texts(&values))],
        about: format!("Count how often each {one} occurs."),
        body,
        value: Value::counts(&counts),
    }
}

fn lengths(random: &mut Random) -> Function {
    let drawn = Texts::draw(random);
    let Texts { one, many, values } = &drawn;
    let entries: Vec<(&str, usize)> = values.iter().map(|&word| (word, word.len())).collect();
    let body = match random.chance(60) {
        true => format!("return {{{one}: len({one}) for {one} in {many}}}\n"),
        false => format!(
            "lengths = {{}}\nfor {one} in {many}:\n    lengths[{one}] = len({one})\n\
             return lengths\n"
        ),
    };
    Function {
        name: format!("{}_{many}", random.word("measure|lengths_of|size_up")),
        parameters: vec![drawn.parameter()],
        about: format!("Map each {one} to its length."),
        body,
        value: Value::counts(&entries),
    }
}

fn invert(random: &mut Random) -> Function {
    let drawn = Texts::draw(random);
    let Texts { one, many, values } = &drawn;
    let entries: Vec<(&str, usize)> = values.iter().enumerate().map(|(at, &word)| (word, at + 1)).collect();
    let inverted: Vec<String> = entries.iter().map(|(word, at)| format!("{at}: \"{word}\"")).collect();
    let body = match random.chance(50) {
        true => format!("return {{rank: {one} for {one}, rank in ranks.items()}}\n"),
        false => format!(
            "{many} = {{}}\nfor {one}, rank in ranks.items():\n    {many}[rank] = {one}\n\
             return {many}\n"
        ),
    };
    Function {
        name: format!("{many}_by_rank"),
        parameters: vec![Parameter::new("ranks", Value::counts(&entries))],
        about: format!("Map each rank to its {one}."),
        body,
        value: Value::new("dict[int, str]", format!("{{{}}}", inverted.join(", "))),
    }
}

fn look_up(random: &mut Random) -> Function {
    let drawn = Texts::draw(random);
    let Texts { one, values, .. } = &drawn;
    let entries = drawn.entries(random);
    let amounts = random.word("prices|ages|scores|stock|amounts");
    let (wanted, value) = match random.chance(70) {
        true => *random.pick(&entries),
        false => ("other", 0),
    };
    debug_assert!(!values.contains(&"other"));
    let body = match random.below(3) {
        0 => format!("return {amounts}.get({one}, 0)\n"),
        1 => format!("if {one} in {amounts}:\n    return {amounts}[{one}]\nreturn 0\n"),
        _ => format!("try:\n    return {amounts}[{one}]\nexcept KeyError:\n    return 0\n"),
    };
    Function {
        name: format!("look_up_{one}"),
        parameters: vec![Parameter::new(amounts, Value::counts(&entries)), Parameter::text(one, wanted)],
        about: format!("Return what {amounts} holds for the {one}, or zero."),
        body,
        value: Value::number(value),
    }
}

fn total_cost(random: &mut Random) -> Function {
    let drawn = Texts::draw(random);
    let one = drawn.one;
    let prices = drawn.entries(random);
    let order: Vec<(&str, i64)> =
        prices.iter().take(2).map(|&(word, _)| (word, random.between(1, 6))).collect();
    let value: i64 = prices.iter().zip(&order).map(|(price, amount)| price.1 * amount.1).sum();
    let body = match random.chance(40) {
        true => {
            format!("return sum(prices[{one}] * amount for {one}, amount in order.items())\n")
        }
        false => format!(
            "total = 0\nfor {one}, amount in order.items():\n    total += prices[{one}] * amount\n\
             return total\n"
        ),
    };
    Function {
        name: random.word("total_cost|bill|cost_of_order").into(),
        parameters: vec![
            Parameter::new("prices", Value::counts(&prices)),
            Parameter::new("order", Value::counts(&order)),
        ],
        about: "Return what an order costs.".into(),
        body,
        value: Value::number(value),
    }
}

fn group(random: &mut Random) -> Function {
    let drawn = Texts::draw(random);
    let Texts { one, many, values } = &drawn;
    let mut groups: Vec<(&str, Vec<&str>)> = Vec::new();
    for &word in values {
        match groups.iter_mut().find(|(letter, _)| *letter == &word[..1]) {
            Some((_, members)) => members.push(word),
            None => groups.push((&word[..1], vec![word])),
        }
    }
    let groups: Vec<(&str, String)> =
        groups.iter().map(|(letter, members)| (*letter, texts(members))).collect();
    let (empty, step) = match random.chance(40) {
        true => ("defaultdict(list)", format!("groups[{one}[0]].append({one})")),
        false => ("{}", format!("groups.setdefault({one}[0], []).append({one})")),
    };
    Function {
        name: format!("group_{many}"),
        parameters: vec![drawn.parameter()],
        about: format!("Group the {many} by their first letter."),
        body: format!("groups = {empty}\nfor {one} in {many}:\n    {step}\nreturn dict(groups)\n"),
        value: Value::new("dict[str, list[str]]", dict(&groups)),
    }
}
