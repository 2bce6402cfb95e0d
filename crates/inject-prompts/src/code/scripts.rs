//! Modules without definitions, which consist only of statements.

use super::values::{Numbers, Texts, dict, list, texts};
use super::{Part, Random, equation};

/// Returns the statements of a module without definitions.
pub(super) fn script(random: &mut Random) -> Part {
    const SCRIPTS: &[fn(&mut Random) -> Part] =
        &[arithmetic, price_list, numbered, search, yielding, nested, ordered];
    random.pick(SCRIPTS)(random)
}

fn part(about: &str, statements: String) -> Part {
    Part { import: None, about: about.into(), definition: String::new(), statements }
}

/// Returns assignments of variables, each computed from earlier ones.
fn arithmetic(random: &mut Random) -> Part {
    let names = random.words(
        "a|b|c|x|y|z|width|height|price|count|left|right|first|second|third|total|start|end|speed|\
         time|distance|base|offset|step|size",
        5,
    );
    let mut known: Vec<(&str, i64)> = Vec::new();
    let mut lines = String::new();
    for (at, name) in names.iter().take(random.between(3, 5) as usize).enumerate() {
        if at < 2 {
            let value = random.between(1, 40);
            lines += &format!("{name} = {value}\n");
            known.push((name, value));
            continue;
        }
        let at = random.below(known.len());
        let (left, right) = (known[at], known[(at + 1) % known.len()]);
        let by = random.between(2, 9);
        let (text, value) = match random.below(6) {
            0 => (format!("{} + {}", left.0, right.0), left.1 + right.1),
            1 => (format!("{} - {}", left.0, right.0), left.1 - right.1),
            2 => (format!("{} * {by}", left.0), left.1 * by),
            3 => (format!("{by} * ({} + {})", left.0, right.0), by * (left.1 + right.1)),
            4 => (format!("max({}, {})", left.0, right.0), left.1.max(right.1)),
            // Python rounds towards negative infinity.
            _ => (format!("{} // {by}", left.0), left.1.div_euclid(by)),
        };
        lines += &format!("{name} = {text}\n");
        known.push((name, value));
    }
    let (name, value) = *known.last().expect("there are at least three");
    lines += &match random.below(4) {
        0 => format!("assert {name} == {value}\n"),
        1 => format!("print({name})  # {value}\n"),
        2 => format!("print(f\"{name} is {{{name}}}\")  # {name} is {value}\n"),
        _ => {
            let (other, bound) = *random.pick(&known[..known.len() - 1]);
            format!(
                "if {name} > {other}:\n    print(\"{name} is larger\")  # {value} > {bound}\n\
                 else:\n    print(\"{name} is not larger\")\n"
            )
        }
    };
    part(&format!("Work out the {name}."), lines)
}

/// Returns a loop over a dict of prices.
fn price_list(random: &mut Random) -> Part {
    let drawn = Texts::draw(random);
    let (one, many) = (drawn.one, &drawn.many);
    let entries = drawn.entries(random);
    let (values, value) =
        *random.pick(&[("prices", "price"), ("ages", "age"), ("scores", "score"), ("weights", "weight")]);
    let limit = random.between(3, 25);
    let total: i64 = entries.iter().map(|entry| entry.1).sum();
    let above = entries.iter().filter(|entry| entry.1 > limit).count();
    let mut lines = format!("{values} = {}\n", dict(&entries));
    match random.below(3) {
        0 => {
            lines += &format!(
                "total = 0\nfor {one}, {value} in {values}.items():\n    \
                 print(f\"{{{one}}}: {{{value}}}\")\n    total += {value}\nassert total == {total}\n"
            );
        }
        1 => {
            lines += &format!(
                "{many} = []\nfor {one} in {values}:\n    if {values}[{one}] > {limit}:\n        \
                 {many}.append({one})\nprint(\"above {limit}:\", {many})\nassert len({many}) == {above}\n"
            );
        }
        _ => {
            lines += &format!(
                "high = {{{one}: {value} for {one}, {value} in {values}.items() if {value} > {limit}}}\n\
                 assert len(high) == {above}\nprint(sum({values}.values()))  # {total}\n"
            );
        }
    }
    part(&format!("The {values} of some {many}."), lines)
}

/// Returns a loop that prints the items of a list with their numbers.
fn numbered(random: &mut Random) -> Part {
    let Texts { one, many, values } = Texts::draw(random);
    let first = random.between(0, 1);
    let skipped = *random.pick(&values);
    let mut lines = format!("{many} = {}\n", texts(&values));
    lines += &match random.below(3) {
        0 => format!("for index, {one} in enumerate({many}, start={first}):\n    print(index, {one})\n"),
        1 => format!(
            "for {one} in {many}:\n    if {one} == \"{skipped}\":\n        continue\n    \
             print({one})\n"
        ),
        _ => format!(
            "while {many}:\n    {one} = {many}.pop()\n    print(\"next:\", {one})\n\
             assert {many} == []\n"
        ),
    };
    part(&format!("Show some {many}."), lines)
}

/// Returns a loop that ends early with `break`.
fn search(random: &mut Random) -> Part {
    let (step, limit) = (random.between(2, 19), random.between(20, 120));
    let number = random.word("number|value|x|n|candidate");
    let found = (limit / step + 1) * step;
    let lines = match random.below(3) {
        0 => format!(
            "{number} = {limit} + 1\nwhile {number} % {step} != 0:\n    {number} += 1\n\
             print({number})  # {found}\n"
        ),
        1 => format!(
            "for {number} in range({limit} + 1, {limit} + {step} + 1):\n    \
             if {number} % {step} == 0:\n        break\nassert {number} == {found}\n"
        ),
        _ => format!(
            "{number} = 0\nwhile True:\n    {number} += {step}\n    if {number} > {limit}:\n        \
             break\nassert {number} == {found}\n"
        ),
    };
    part(&format!("Find the first multiple of {step} above {limit}."), lines)
}

/// Returns a function that yields numbers, and its use in a loop or a sum.
fn yielding(random: &mut Random) -> Part {
    let (names, step, words) = *random.pick(&[
        ("count_up|climb|numbers_from|stairs", "+= 1", "one more"),
        ("doubles|powers|double_up|grow", "*= 2", "twice as much"),
        ("odd_numbers|every_second|jump|skip_one", "+= 2", "two more"),
        ("triples|threefold|triple_up|grow_fast", "*= 3", "three times as much"),
    ]);
    let name = random.word(names);
    let (start, limit) = (2 * random.between(0, 4) + 1, random.between(10, 60));
    let value = random.word("value|number|current|n");
    let mut values = Vec::new();
    let mut now = start;
    while now < limit {
        values.push(now);
        now = match step {
            "+= 1" => now + 1,
            "+= 2" => now + 2,
            "*= 2" => now * 2,
            _ => now * 3,
        };
    }
    let than = if step.starts_with('+') { "than" } else { "as" };
    let about = format!("Each number is {words} {than} the one before.");
    let definition = format!(
        "def {name}(start, limit):\n    \"\"\"{about}\"\"\"\n    {value} = start\n    \
         while {value} < limit:\n        yield {value}\n        {value} {step}\n"
    );
    let statements = match random.chance(50) {
        true if values.len() < 9 => {
            format!("assert list({name}({start}, {limit})) == {}\n", list(&values))
        }
        true => format!("print(sum({name}({start}, {limit})))  # {}\n", values.iter().sum::<i64>()),
        false => format!("for {value} in {name}({start}, {limit}):\n    print({value})\n"),
    };
    Part { import: None, about, definition, statements }
}

/// Returns two loops, one in the other, that add up products.
fn nested(random: &mut Random) -> Part {
    let (rows, columns) = (random.between(2, 9), random.between(2, 9));
    let (i, j) = *random.pick(&[("i", "j"), ("row", "column"), ("x", "y"), ("a", "b")]);
    let total: i64 = (0..rows).flat_map(|i| (0..columns).map(move |j| i * j)).sum();
    let lines = match random.below(3) {
        0 => format!(
            "for {i} in range({rows}):\n    for {j} in range({columns}):\n        \
             print({i} * {j}, end=\" \")\n    print()\n"
        ),
        1 => format!(
            "total = 0\nfor {i} in range({rows}):\n    for {j} in range({columns}):\n        \
             total += {i} * {j}\nassert total == {total}\n"
        ),
        _ => format!(
            "cells = [({i}, {j}) for {i} in range({rows}) for {j} in range({columns})]\n\
             assert len(cells) == {}\nfor {i}, {j} in cells:\n    print({i}, {j}, {i} + {j})\n",
            rows * columns
        ),
    };
    part(&format!("Go through {rows} rows and {columns} columns."), lines)
}

/// Returns a list that is sorted, sliced and printed.
fn ordered(random: &mut Random) -> Part {
    let Numbers { one, many, values } = Numbers::draw(random);
    let mut sorted = values.clone();
    sorted.sort_unstable();
    let mut distinct = sorted.clone();
    distinct.dedup();
    let mut lines = format!("{many} = {}\n", list(&values));
    lines += &match random.below(4) {
        0 => format!(
            "{many}.sort()\nassert {many}[0] == {}\nprint({many}[-1])  # {}\n",
            sorted[0],
            sorted[sorted.len() - 1]
        ),
        1 => format!(
            "distinct = set({many})\nif len(distinct) == len({many}):\n    \
             print(\"no {one} occurs twice\")\nelse:\n    print(\"some {one} occurs twice\")\n\
             assert len(distinct) == {}\n",
            distinct.len()
        ),
        2 => format!(
            "first, *others = {many}\nprint(first)  # {}\nassert {}\n",
            values[0],
            equation("len(others)", &(values.len() - 1).to_string())
        ),
        _ => format!(
            "ordered = sorted({many})\nassert ordered == {}\nmiddle = ordered[len(ordered) // 2]\n\
             print(\"middle {one}:\", middle)  # {}\n",
            list(&sorted),
            sorted[sorted.len() / 2]
        ),
    };
    part(&format!("Look at some {many} in order."), lines)
}
