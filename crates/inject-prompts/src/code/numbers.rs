//! Functions of one number.

use super::values::{Value, list};
use super::{Function, Parameter, Random};

pub(super) const FUNCTIONS: &[fn(&mut Random) -> Function] =
    &[classify, count_steps, digit_sum, recursive, clamp, divisor, is_prime, table];

fn classify(random: &mut Random) -> Function {
    let one = random.word("size|speed|age|score|price|weight|depth|height|distance|level");
    let (low, high) = *random.pick(&[
        ("small", "large"),
        ("low", "high"),
        ("short", "long"),
        ("slow", "fast"),
        ("bad", "good"),
    ]);
    let middle = random.word("medium|normal|average|fair");
    let first = random.between(3, 20);
    let second = first + random.between(5, 40);
    let value = random.between(0, second + 10);
    let class = if value < first {
        low
    } else if value < second {
        middle
    } else {
        high
    };
    let body = match random.chance(60) {
        true => format!(
            "if {one} < {first}:\n    return \"{low}\"\nelif {one} < {second}:\n    \
             return \"{middle}\"\nelse:\n    return \"{high}\"\n"
        ),
        false => format!(
            "if {one} < {first}:\n    return \"{low}\"\nif {one} < {second}:\n    \
             return \"{middle}\"\nreturn \"{high}\"\n"
        ),
    };
    Function {
        name: format!("{}_{one}", random.word("classify|describe|label|judge")),
        parameters: vec![Parameter::number(one, value)],
        about: format!("Say whether the {one} is {low}, {middle} or {high}."),
        body,
        value: Value::text(class),
    }
}

fn count_steps(random: &mut Random) -> Function {
    let one = random.word("number|amount|distance|fuel|money|water");
    let start = random.between(5, 99);
    let step = random.between(2, 9);
    let steps = random.word("steps|rounds|turns|days");
    let (change, name, value) = match random.chance(50) {
        true => (format!("{one} -= {step}"), "empty", (start + step - 1) / step),
        false => (format!("{one} //= 2"), "halve", i64::from(64 - start.leading_zeros())),
    };
    Function {
        name: format!("{steps}_to_{name}_{one}"),
        parameters: vec![Parameter::number(one, start)],
        about: format!("Count the {steps} until no {one} is left."),
        body: format!("{steps} = 0\nwhile {one} > 0:\n    {change}\n    {steps} += 1\nreturn {steps}\n"),
        value: Value::number(value),
    }
}

fn digit_sum(random: &mut Random) -> Function {
    let number = random.between(10, 99_999);
    let digits = number.to_string();
    let body = match random.below(3) {
        0 => "return sum(int(digit) for digit in str(number))\n",
        1 => {
            "total = 0\nwhile number > 0:\n    total += number % 10\n    number //= 10\n\
              return total\n"
        }
        _ => "total = 0\nfor digit in str(number):\n    total += int(digit)\nreturn total\n",
    };
    Function {
        name: random.word("digit_sum|sum_digits|add_digits").into(),
        parameters: vec![Parameter::number("number", number)],
        about: "Add up the digits of a number.".into(),
        body: body.into(),
        value: Value::number(digits.bytes().map(|digit| i64::from(digit - b'0')).sum::<i64>()),
    }
}

fn recursive(random: &mut Random) -> Function {
    let n = random.between(1, 12);
    let base = random.between(2, 5);
    let fibonacci = (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0;
    let (name, about, body, value) = match random.below(4) {
        0 => (
            "factorial",
            "Multiply all numbers up to n.",
            "if n <= 1:\n    return 1\nreturn n * factorial(n - 1)\n".to_owned(),
            (1..=n).product::<i64>(),
        ),
        1 => (
            "fibonacci",
            "Return the nth Fibonacci number.",
            "if n < 2:\n    return n\nreturn fibonacci(n - 1) + fibonacci(n - 2)\n".to_owned(),
            fibonacci,
        ),
        2 => (
            "triangle",
            "Add all numbers up to n.",
            "if n == 0:\n    return 0\nreturn n + triangle(n - 1)\n".to_owned(),
            n * (n + 1) / 2,
        ),
        _ => (
            "power",
            "Multiply the base by itself n times.",
            format!("if n == 0:\n    return 1\nreturn {base} * power(n - 1)\n"),
            base.pow(n as u32),
        ),
    };
    Function {
        name: name.into(),
        parameters: vec![Parameter::number("n", n)],
        about: about.into(),
        body,
        value: Value::number(value),
    }
}

fn clamp(random: &mut Random) -> Function {
    let one = random.word("value|speed|volume|angle|level|score");
    let low = random.between(0, 20);
    let high = low + random.between(5, 60);
    let value = random.between(0, 99);
    let body = match random.chance(50) {
        true => format!("return max(low, min({one}, high))\n"),
        false => {
            format!("if {one} < low:\n    return low\nif {one} > high:\n    return high\nreturn {one}\n")
        }
    };
    Function {
        name: format!("{}_{one}", random.word("clamp|limit|bound")),
        parameters: vec![
            Parameter::number(one, value),
            Parameter::number("low", low),
            Parameter::number("high", high),
        ],
        about: format!("Keep the {one} between low and high."),
        body,
        value: Value::number(value.clamp(low, high)),
    }
}

fn divisor(random: &mut Random) -> Function {
    let (a, b) = (random.between(4, 90), random.between(4, 90));
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    let body = match random.below(3) {
        0 => "return math.gcd(a, b)\n",
        1 => "while b:\n    a, b = b, a % b\nreturn a\n",
        _ => "if b == 0:\n    return a\nreturn common_divisor(b, a % b)\n",
    };
    Function {
        name: "common_divisor".into(),
        parameters: vec![Parameter::number("a", a), Parameter::number("b", b)],
        about: "Return the greatest common divisor of a and b.".into(),
        body: body.into(),
        value: Value::number(x),
    }
}

fn is_prime(random: &mut Random) -> Function {
    let number = random.between(2, 150);
    let prime = (2..number).all(|divisor| number % divisor != 0);
    let body = match random.below(3) {
        0 => {
            "for divisor in range(2, math.isqrt(number) + 1):\n    if number % divisor == 0:\n        \
             return False\nreturn number > 1\n"
        }
        1 => {
            "if number < 2:\n    return False\ndivisor = 2\nwhile divisor * divisor <= number:\n    \
             if number % divisor == 0:\n        return False\n    divisor += 1\nreturn True\n"
        }
        _ => "return number > 1 and all(number % divisor for divisor in range(2, number))\n",
    };
    Function {
        name: "is_prime".into(),
        parameters: vec![Parameter::number("number", number)],
        about: "Tell whether a number has no divisor but one and itself.".into(),
        body: body.into(),
        value: Value::truth(prime),
    }
}

fn table(random: &mut Random) -> Function {
    let (rows, columns) = (random.between(2, 3), random.between(2, 4));
    let start = random.between(0, 5);
    let cells: Vec<String> = (0..rows)
        .map(|row| {
            let cells: Vec<i64> = (0..columns).map(|column| row * columns + column + start).collect();
            list(&cells)
        })
        .collect();
    let name = random.word("make_grid|make_table|build_board");
    let body = match random.chance(50) {
        true => {
            "return [[row * columns + column + start for column in range(columns)] \
                 for row in range(rows)]\n"
        }
        false => {
            "grid = []\nfor row in range(rows):\n    line = []\n    \
                  for column in range(columns):\n        line.append(row * columns + column + start)\n    \
                  grid.append(line)\nreturn grid\n"
        }
    };
    Function {
        name: name.into(),
        parameters: vec![
            Parameter::number("rows", rows),
            Parameter::number("columns", columns),
            Parameter::number("start", start),
        ],
        about: "Number the cells of a table, row by row.".into(),
        body: body.into(),
        value: Value::new("list[list[int]]", list(&cells)),
    }
}
