//! Functions of words and of lists of words.

use super::values::{NAMES, TOWNS, Texts, Value, capitalised};
use super::{Function, Parameter, Random};

pub(super) const FUNCTIONS: &[fn(&mut Random) -> Function] = &[
    longest,
    join,
    greet,
    starting_with,
    count_vowels,
    palindrome,
    change_each,
    parse,
    initials,
    contains,
    repeat,
    sort_by_length,
    matches,
];

fn longest(random: &mut Random) -> Function {
    let drawn = Texts::draw(random);
    let Texts { one, many, values } = &drawn;
    // As in Python, the first of several words of equal length.
    let value = values.iter().rev().max_by_key(|word| word.len()).expect("a list has a word");
    let body = match random.chance(40) {
        true => format!("return max({many}, key=len)\n"),
        false => format!(
            "longest = \"\"\nfor {one} in {many}:\n    if len({one}) > len(longest):\n        \
             longest = {one}\nreturn longest\n"
        ),
    };
    Function {
        name: format!("longest_{one}"),
        parameters: vec![drawn.parameter()],
        about: format!("Return the longest of the {many}."),
        body,
        value: Value::text(value),
    }
}

fn join(random: &mut Random) -> Function {
    let drawn = Texts::draw(random);
    let Texts { one, many, values } = &drawn;
    let between = random.word(", | and |-| |; ");
    let body = match random.chance(60) {
        true => format!("return \"{between}\".join({many})\n"),
        false => format!(
            "line = \"\"\nfor {one} in {many}:\n    if line:\n        line += \"{between}\"\n    \
             line += {one}\nreturn line\n"
        ),
    };
    Function {
        name: format!("{}_{many}", random.word("join|list|write")),
        parameters: vec![drawn.parameter()],
        about: format!("Write the {many} in one line."),
        body,
        value: Value::text(&values.join(between)),
    }
}

fn greet(random: &mut Random) -> Function {
    let word = random.word("Hello|Good morning|Welcome|Dear|Goodbye|Good night");
    let name = random.word(NAMES);
    let town = random.word(TOWNS);
    let body = match random.below(3) {
        0 => format!("return f\"{word}, {{name}} of {{town}}!\"\n"),
        1 => format!("return \"{word}, \" + name + \" of \" + town + \"!\"\n"),
        _ => format!("return \"{word}, {{}} of {{}}!\".format(name, town)\n"),
    };
    Function {
        name: random.word("greet|greeting|salute|address").into(),
        parameters: vec![Parameter::text("name", name), Parameter::text("town", town)],
        about: "Greet someone by name and town.".into(),
        body,
        value: Value::text(&format!("{word}, {name} of {town}!")),
    }
}

fn starting_with(random: &mut Random) -> Function {
    let drawn = Texts::draw(random);
    let Texts { one, many, values } = &drawn;
    let prefix = &random.pick(values)[..1];
    let kept: Vec<&str> = values.iter().copied().filter(|word| word.starts_with(prefix)).collect();
    let test = match random.chance(50) {
        true => format!("{one}.startswith(letter)"),
        false => format!("{one}[0] == letter"),
    };
    let body = match random.chance(50) {
        true => format!("return [{one} for {one} in {many} if {test}]\n"),
        false => format!(
            "found = []\nfor {one} in {many}:\n    if {test}:\n        found.append({one})\n\
             return found\n"
        ),
    };
    Function {
        name: format!("{many}_starting_with"),
        parameters: vec![drawn.parameter(), Parameter::text("letter", prefix)],
        about: format!("Return the {many} whose first letter is the given one."),
        body,
        value: Value::texts(&kept),
    }
}

fn count_vowels(random: &mut Random) -> Function {
    let Texts { one, values, .. } = Texts::draw(random);
    let word = values[0].to_ascii_lowercase();
    let count = word.chars().filter(|&letter| "aeiou".contains(letter)).count();
    let body = match random.chance(50) {
        true => format!("return sum(1 for letter in {one} if letter in \"aeiou\")\n"),
        false => format!(
            "vowels = 0\nfor letter in {one}:\n    if letter in \"aeiou\":\n        vowels += 1\n\
             return vowels\n"
        ),
    };
    Function {
        name: format!("vowels_in_{one}"),
        parameters: vec![Parameter::text(one, &word)],
        about: format!("Count the vowels of a {one}."),
        body,
        value: Value::number(count),
    }
}

fn palindrome(random: &mut Random) -> Function {
    let word = random.word("level|radar|noon|river|stone|refer|paper|civic|table|kayak|lemon|rotor");
    let same = word.bytes().eq(word.bytes().rev());
    let body = match random.below(3) {
        0 => "return word == word[::-1]\n",
        1 => "return list(word) == list(reversed(word))\n",
        _ => {
            "left, right = 0, len(word) - 1\nwhile left < right:\n    \
              if word[left] != word[right]:\n        return False\n    left += 1\n    right -= 1\n\
              return True\n"
        }
    };
    Function {
        name: "is_palindrome".into(),
        parameters: vec![Parameter::text("word", word)],
        about: "Tell whether a word reads the same from both ends.".into(),
        body: body.into(),
        value: Value::truth(same),
    }
}

/// An operation on a word: name, expression, effect.
type Change = (&'static str, &'static str, fn(&str) -> String);

const CHANGES: &[Change] = &[
    ("upper", "{}.upper()", |word| word.to_ascii_uppercase()),
    ("title", "{}.title()", capitalised),
    ("reverse", "{}[::-1]", |word| word.chars().rev().collect()),
    ("double", "{} * 2", |word| word.repeat(2)),
    ("shorten", "{}[:3]", |word| word[..word.len().min(3)].into()),
    ("mark", "{} + \"!\"", |word| format!("{word}!")),
];

fn change_each(random: &mut Random) -> Function {
    let drawn = Texts::draw(random);
    let Texts { one, many, values } = &drawn;
    let (name, change, apply) = *random.pick(CHANGES);
    let change = change.replace("{}", one);
    let changed: Vec<String> = values.iter().map(|word| apply(word)).collect();
    let body = match random.chance(50) {
        true => format!("return [{change} for {one} in {many}]\n"),
        false => {
            format!("changed = []\nfor {one} in {many}:\n    changed.append({change})\nreturn changed\n")
        }
    };
    Function {
        name: format!("{name}_{many}"),
        parameters: vec![drawn.parameter()],
        about: format!("Return {} for each {one}.", change.replace('"', "'")),
        body,
        value: Value::texts(&changed),
    }
}

fn parse(random: &mut Random) -> Function {
    let words: Vec<String> = (0..random.between(3, 5))
        .map(|_| match random.chance(60) {
            true => random.between(0, 99).to_string(),
            false => random.word("x|none|?|ten|half|-").into(),
        })
        .collect();
    let numbers: Vec<i64> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let (fallback, value) = match random.chance(60) {
        true => ("continue".to_owned(), numbers),
        false => {
            let zeros = words.iter().map(|word| word.parse().unwrap_or(0)).collect();
            ("numbers.append(0)".to_owned(), zeros)
        }
    };
    Function {
        name: random.word("parse_numbers|read_numbers|to_numbers").into(),
        parameters: vec![Parameter::new("texts", Value::texts(&words))],
        about: "Read the numbers among the texts.".into(),
        body: format!(
            "numbers = []\nfor text in texts:\n    try:\n        numbers.append(int(text))\n    \
             except ValueError:\n        {fallback}\nreturn numbers\n"
        ),
        value: Value::numbers(&value),
    }
}

fn initials(random: &mut Random) -> Function {
    let drawn = Texts::draw(random);
    let Texts { one, many, values } = &drawn;
    let letters: String = values.iter().map(|word| word[..1].to_ascii_uppercase()).collect();
    let body = match random.chance(50) {
        true => format!("return \"\".join({one}[0].upper() for {one} in {many})\n"),
        false => format!(
            "letters = []\nfor {one} in {many}:\n    letters.append({one}[0].upper())\n\
             return \"\".join(letters)\n"
        ),
    };
    Function {
        name: format!("initials_of_{many}"),
        parameters: vec![drawn.parameter()],
        about: format!("Return the first letters of the {many}."),
        body,
        value: Value::text(&letters),
    }
}

fn contains(random: &mut Random) -> Function {
    let drawn = Texts::draw(random);
    let Texts { one, many, values } = &drawn;
    let wanted = if random.chance(60) { *random.pick(values) } else { "nothing" };
    let body = match random.below(3) {
        0 => format!("return wanted in {many}\n"),
        1 => format!("return any({one} == wanted for {one} in {many})\n"),
        _ => format!(
            "found = False\nfor {one} in {many}:\n    if {one} == wanted:\n        found = True\n        \
             break\nreturn found\n"
        ),
    };
    Function {
        name: format!("{}_{one}", random.word("has|contains|includes")),
        parameters: vec![drawn.parameter(), Parameter::text("wanted", wanted)],
        about: format!("Tell whether the wanted {one} is there."),
        body,
        value: Value::truth(values.contains(&wanted)),
    }
}

fn repeat(random: &mut Random) -> Function {
    let mark = random.word("*|-|ab|=|+-|.|x|#|xo|~");
    let times = random.between(2, 9);
    let body = match random.chance(50) {
        true => "return mark * times\n",
        false => "line = \"\"\nfor _ in range(times):\n    line += mark\nreturn line\n",
    };
    Function {
        name: random.word("draw_line|repeat_mark|make_border").into(),
        parameters: vec![Parameter::text("mark", mark), Parameter::number("times", times)],
        about: "Repeat a mark some times.".into(),
        body: body.into(),
        value: Value::text(&mark.repeat(times as usize)),
    }
}

fn sort_by_length(random: &mut Random) -> Function {
    let drawn = Texts::draw(random);
    let Texts { one, many, values } = &drawn;
    let mut sorted = values.clone();
    let (name, key) = match random.below(3) {
        0 => {
            sorted.sort_by_key(|word| word.len());
            ("by_length", "key=len".to_owned())
        }
        1 => {
            sorted.sort_by_key(|word| word.as_bytes()[word.len() - 1]);
            ("by_last_letter", format!("key=lambda {one}: {one}[-1]"))
        }
        _ => {
            sorted.sort_unstable_by(|a, b| b.cmp(a));
            ("backwards", "reverse=True".to_owned())
        }
    };
    let body = match random.chance(50) {
        true => format!("return sorted({many}, {key})\n"),
        false => format!("ordered = list({many})\nordered.sort({key})\nreturn ordered\n"),
    };
    Function {
        name: format!("sort_{many}_{name}"),
        parameters: vec![drawn.parameter()],
        about: format!("Sort the {many} {}.", name.replace('_', " ")),
        body,
        value: Value::texts(&sorted),
    }
}

fn matches(random: &mut Random) -> Function {
    let Texts { values, .. } = Texts::draw(random);
    let mut numbers: Vec<i64> = Vec::new();
    let mut line = String::new();
    for word in values.iter().take(3) {
        let number = random.between(1, 99);
        numbers.push(number);
        line += &format!("{number} {word} ");
    }
    let body = match random.chance(60) {
        true => "return [int(digits) for digits in re.findall(r\"[0-9]+\", line)]\n",
        false => "return [int(word) for word in line.split() if word.isdigit()]\n",
    };
    Function {
        name: random.word("numbers_in|find_numbers|extract_numbers").into(),
        parameters: vec![Parameter::text("line", line.trim_end())],
        about: "Return the numbers written in a line.".into(),
        body: body.into(),
        value: Value::numbers(&numbers),
    }
}
