//! Functions of lists of numbers.

use super::values::{Numbers, Value, list};
use super::{Function, Parameter, Random};

pub(super) const FUNCTIONS: &[fn(&mut Random) -> Function] = &[
    count_where,
    total_where,
    keep_where,
    change_all,
    extreme,
    average,
    position,
    running_totals,
    split_by_parity,
    pairs_with_sum,
    largest_few,
    dot_product,
];

/// A condition on one number.
struct Test {
    kind: usize,
    bound: i64,
    /// The bound in the source code: a literal or a parameter.
    right: String,
}

impl Test {
    fn draw(random: &mut Random, numbers: &Numbers) -> Self {
        let bound = (*random.pick(&numbers.values)).max(2);
        let right = match random.chance(50) {
            true => random.word("limit|bound|threshold|target").into(),
            false => bound.to_string(),
        };
        Self { kind: random.below(6), bound, right }
    }

    fn holds(&self, value: i64) -> bool {
        match self.kind {
            0 => value > self.bound,
            1 => value < self.bound,
            2 => value >= self.bound,
            3 => value <= self.bound,
            4 => value % self.bound == 0,
            _ => value != self.bound,
        }
    }

    fn text(&self, name: &str) -> String {
        let right = &self.right;
        match self.kind {
            0 => format!("{name} > {right}"),
            1 => format!("{name} < {right}"),
            2 => format!("{name} >= {right}"),
            3 => format!("{name} <= {right}"),
            4 => format!("{name} % {right} == 0"),
            _ => format!("{name} != {right}"),
        }
    }

    fn tail(&self) -> &'static str {
        ["above", "below", "from", "up_to", "divisible_by", "other_than"][self.kind]
    }

    fn words(&self) -> String {
        let relation = ["above", "below", "of at least", "of at most", "divisible by", "other than"];
        format!("{} {}", relation[self.kind], self.right)
    }

    fn parameters(&self, numbers: &Numbers) -> Vec<Parameter> {
        let mut parameters = vec![numbers.parameter()];
        if self.right != self.bound.to_string() {
            parameters.push(Parameter::number(&self.right, self.bound));
        }
        parameters
    }

    fn kept(&self, numbers: &Numbers) -> Vec<i64> {
        numbers.values.iter().copied().filter(|&value| self.holds(value)).collect()
    }
}

fn count_where(random: &mut Random) -> Function {
    let numbers = Numbers::draw(random);
    let test = Test::draw(random, &numbers);
    let Numbers { one, many, .. } = &numbers;
    let condition = test.text(one);
    let count = random.word("count|total|found");
    let body = match random.below(3) {
        0 => format!("return sum(1 for {one} in {many} if {condition})\n"),
        1 => format!("return len([{one} for {one} in {many} if {condition}])\n"),
        _ => format!(
            "{count} = 0\nfor {one} in {many}:\n    if {condition}:\n        {count} += 1\n\
             return {count}\n"
        ),
    };
    Function {
        name: format!("count_{many}_{}", test.tail()),
        parameters: test.parameters(&numbers),
        about: format!("Count the {many} {}.", test.words()),
        body,
        value: Value::number(test.kept(&numbers).len()),
    }
}

fn total_where(random: &mut Random) -> Function {
    let numbers = Numbers::draw(random);
    let test = Test::draw(random, &numbers);
    let Numbers { one, many, .. } = &numbers;
    let condition = test.text(one);
    let total = random.word("total|result|added");
    let body = match random.below(3) {
        0 => format!("return sum({one} for {one} in {many} if {condition})\n"),
        1 => format!("kept = [{one} for {one} in {many} if {condition}]\nreturn sum(kept)\n"),
        _ => format!(
            "{total} = 0\nfor {one} in {many}:\n    if {condition}:\n        {total} += {one}\n\
             return {total}\n"
        ),
    };
    Function {
        name: format!("{}_{many}_{}", random.word("sum|add|total"), test.tail()),
        parameters: test.parameters(&numbers),
        about: format!("Add up the {many} {}.", test.words()),
        body,
        value: Value::number(test.kept(&numbers).iter().sum::<i64>()),
    }
}

fn keep_where(random: &mut Random) -> Function {
    let numbers = Numbers::draw(random);
    let test = Test::draw(random, &numbers);
    let Numbers { one, many, .. } = &numbers;
    let condition = test.text(one);
    let kept = random.word("kept|result|chosen|selected");
    let body = match random.below(3) {
        0 => format!("return [{one} for {one} in {many} if {condition}]\n"),
        1 => format!("return list(filter(lambda {one}: {condition}, {many}))\n"),
        _ => format!(
            "{kept} = []\nfor {one} in {many}:\n    if {condition}:\n        {kept}.append({one})\n\
             return {kept}\n"
        ),
    };
    Function {
        name: format!("{}_{many}_{}", random.word("keep|filter|select"), test.tail()),
        parameters: test.parameters(&numbers),
        about: format!("{} the {many} {}.", random.word("Keep|Select|Return"), test.words()),
        body,
        value: Value::numbers(&test.kept(&numbers)),
    }
}

/// An operation on a number: name, operator, effect.
type Change = (&'static str, &'static str, fn(i64, i64) -> i64);

const CHANGES: &[Change] = &[
    ("scale", "*", |a, b| a * b),
    ("raise", "+", |a, b| a + b),
    ("lower", "-", |a, b| a - b),
    ("divide", "//", |a, b| a / b),
    ("wrap", "%", |a, b| a % b),
];

fn change_all(random: &mut Random) -> Function {
    let numbers = Numbers::draw(random);
    let Numbers { one, many, values } = &numbers;
    let by = random.between(2, 9);
    let (name, sign, apply) = *random.pick(CHANGES);
    let named = random.word("factor|amount|other|step|");
    let right = if named.is_empty() { by.to_string() } else { named.to_owned() };
    // If both have the same name, the item keeps it.
    let right = if right == *one { by.to_string() } else { right };
    let mut parameters = vec![numbers.parameter()];
    if right != by.to_string() {
        parameters.push(Parameter::number(&right, by));
    }
    let change = format!("{one} {sign} {right}");
    let body = match random.below(3) {
        0 => format!("return [{change} for {one} in {many}]\n"),
        1 => format!("return list(map(lambda {one}: {change}, {many}))\n"),
        _ => format!("changed = []\nfor {one} in {many}:\n    changed.append({change})\nreturn changed\n"),
    };
    let value: Vec<i64> = values.iter().map(|&value| apply(value, by)).collect();
    Function {
        name: format!("{name}_{many}"),
        parameters,
        about: format!("Return {change} for each {one}."),
        body,
        value: Value::numbers(&value),
    }
}

fn extreme(random: &mut Random) -> Function {
    let numbers = Numbers::draw(random);
    let Numbers { one, many, values } = &numbers;
    let (word, sign, builtin, value) = match random.chance(50) {
        true => (random.word("largest|highest|greatest"), ">", "max", values.iter().max()),
        false => (random.word("smallest|lowest|least"), "<", "min", values.iter().min()),
    };
    let body = match random.below(3) {
        0 => format!("return {builtin}({many})\n"),
        1 => format!(
            "if not {many}:\n    return None\n{word} = {many}[0]\nfor {one} in {many}[1:]:\n    \
             if {one} {sign} {word}:\n        {word} = {one}\nreturn {word}\n"
        ),
        _ => format!(
            "best = None\nfor {one} in {many}:\n    if best is None or {one} {sign} best:\n        \
             best = {one}\nreturn best\n"
        ),
    };
    Function {
        name: format!("{word}_{one}"),
        parameters: vec![numbers.parameter()],
        about: format!("Return the {word} of the {many}."),
        body,
        value: Value::number(value.expect("a drawn list has a number")),
    }
}

fn average(random: &mut Random) -> Function {
    let numbers = Numbers::draw(random);
    let Numbers { one, many, values } = &numbers;
    let total = random.word("total|added|whole");
    let summed = match random.chance(50) {
        true => format!("{total} = sum({many})\n"),
        false => format!("{total} = 0\nfor {one} in {many}:\n    {total} += {one}\n"),
    };
    let mean = values.iter().sum::<i64>() / values.len() as i64;
    Function {
        name: format!("{}_{one}", random.word("average|mean|typical")),
        parameters: vec![numbers.parameter()],
        about: format!("Return the mean of the {many}, rounded down."),
        body: format!("if not {many}:\n    return 0\n{summed}return {total} // len({many})\n"),
        value: Value::number(mean),
    }
}

fn position(random: &mut Random) -> Function {
    let numbers = Numbers::draw(random);
    let Numbers { one, many, values } = &numbers;
    let index = random.word("index|position|i");
    let (wanted, at) = match random.chance(75) {
        true => {
            let wanted = *random.pick(values);
            (wanted, values.iter().position(|&value| value == wanted))
        }
        false => (100 + random.between(0, 99), None),
    };
    let (missing, none) = *random.pick(&[("-1", "-1"), ("None", "None")]);
    Function {
        name: format!("{}_{one}", random.word("find|locate|index_of")),
        parameters: vec![numbers.parameter(), Parameter::number("wanted", wanted)],
        about: format!("Return the first {index} of wanted, or {none}."),
        body: format!(
            "for {index}, {one} in enumerate({many}):\n    if {one} == wanted:\n        \
             return {index}\nreturn {missing}\n"
        ),
        value: Value::new("int", at.map_or(missing.to_owned(), |at| at.to_string())),
    }
}

fn running_totals(random: &mut Random) -> Function {
    let numbers = Numbers::draw(random);
    let Numbers { one, many, values } = &numbers;
    let mut total = 0;
    let totals: Vec<i64> = values
        .iter()
        .map(|value| {
            total += value;
            total
        })
        .collect();
    let body = match random.chance(25) {
        true => format!("return list(accumulate({many}))\n"),
        false => format!(
            "total = 0\ntotals = []\nfor {one} in {many}:\n    total += {one}\n    \
             totals.append(total)\nreturn totals\n"
        ),
    };
    Function {
        name: format!("{}_{many}", random.word("accumulate|running|add_up")),
        parameters: vec![numbers.parameter()],
        about: format!("Return the running totals of the {many}."),
        body,
        value: Value::numbers(&totals),
    }
}

fn split_by_parity(random: &mut Random) -> Function {
    let numbers = Numbers::draw(random);
    let Numbers { one, many, values } = &numbers;
    let (even, odd): (Vec<i64>, Vec<i64>) = values.iter().partition(|&&value| value % 2 == 0);
    let body = match random.chance(50) {
        true => format!(
            "even = [{one} for {one} in {many} if {one} % 2 == 0]\n\
             odd = [{one} for {one} in {many} if {one} % 2 == 1]\nreturn even, odd\n"
        ),
        false => format!(
            "even, odd = [], []\nfor {one} in {many}:\n    if {one} % 2 == 0:\n        \
             even.append({one})\n    else:\n        odd.append({one})\nreturn even, odd\n"
        ),
    };
    Function {
        name: format!("{}_{many}", random.word("split|separate|partition")),
        parameters: vec![numbers.parameter()],
        about: format!("Split the {many} into even and odd ones."),
        body,
        value: Value::new("tuple", format!("({}, {})", list(&even), list(&odd))),
    }
}

fn pairs_with_sum(random: &mut Random) -> Function {
    let numbers = Numbers::draw(random);
    let Numbers { many, values, .. } = &numbers;
    let target = values[0] + values[1];
    let pairs = (0..values.len())
        .flat_map(|j| (0..j).map(move |i| (i, j)))
        .filter(|&(i, j)| values[i] + values[j] == target)
        .count();
    Function {
        name: format!("{}_{many}", random.word("pair|count_pairs_of|match")),
        parameters: vec![numbers.parameter(), Parameter::number("target", target)],
        about: format!("Count the pairs of {many} with the sum target."),
        body: format!(
            "count = 0\nfor i in range(len({many})):\n    for j in range(i + 1, len({many})):\n        \
             if {many}[i] + {many}[j] == target:\n            count += 1\nreturn count\n"
        ),
        value: Value::number(pairs),
    }
}

fn largest_few(random: &mut Random) -> Function {
    let numbers = Numbers::draw(random);
    let Numbers { many, values, .. } = &numbers;
    let few = random.between(1, 3);
    let mut sorted = values.clone();
    sorted.sort_unstable();
    let top = random.chance(50);
    if top {
        sorted.reverse();
    }
    sorted.truncate(few as usize);
    let (word, reverse) = if top { ("largest", ", reverse=True") } else { ("smallest", "") };
    let body = match random.chance(50) {
        true => format!("return sorted({many}{reverse})[:few]\n"),
        false => format!("ordered = sorted({many}{reverse})\nreturn ordered[:few]\n"),
    };
    Function {
        name: format!("{word}_{many}"),
        parameters: vec![numbers.parameter(), Parameter::number("few", few)],
        about: format!("Return the few {word} {many}, in order."),
        body,
        value: Value::numbers(&sorted),
    }
}

fn dot_product(random: &mut Random) -> Function {
    let numbers = Numbers::draw(random);
    let Numbers { one, many, values } = &numbers;
    let counts: Vec<i64> = values.iter().map(|_| random.between(0, 5)).collect();
    let value: i64 = values.iter().zip(&counts).map(|(a, b)| a * b).sum();
    let body = match random.chance(50) {
        true => format!("return sum({one} * count for {one}, count in zip({many}, counts))\n"),
        false => format!(
            "total = 0\nfor {one}, count in zip({many}, counts):\n    total += {one} * count\n\
             return total\n"
        ),
    };
    Function {
        name: format!("{}_{many}", random.word("weigh|combine|multiply")),
        parameters: vec![numbers.parameter(), Parameter::new("counts", Value::numbers(&counts))],
        about: format!("Add up each {one} times its count."),
        body,
        value: Value::number(value),
    }
}
