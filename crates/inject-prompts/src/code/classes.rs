//! Classes, each with an instance and a use of it.

use super::values::{NAMES, POOLS, TOWNS, capitalised, dict, quoted, texts, truth};
use super::{INDENT, Part, Random, article, equation, indented};

/// Returns a class and the use of one of its instances.
pub(super) fn class(random: &mut Random) -> Part {
    const CLASSES: &[fn(&mut Random) -> Part] = &[store, account, stack, rectangle, animal];
    random.pick(CLASSES)(random)
}

/// A class that is being built, and its use.
struct Class {
    text: String,
    /// The lines after the class definition.
    statements: String,
    /// The name and value of an attribute that all instances share.
    shared: Option<(&'static str, String)>,
}

impl Class {
    fn new(head: &str, about: &str, random: &mut Random) -> Self {
        let mut text = format!("{head}:\n");
        if random.chance(60) {
            text += &format!("{INDENT}\"\"\"{about}\"\"\"\n\n");
        }
        let shared = random.chance(70).then(|| shared_value(random));
        if let Some((name, value)) = &shared {
            text += &format!("{INDENT}{name} = {value}\n");
        }
        Self { text, statements: String::new(), shared }
    }

    fn method(&mut self, head: &str, about: &str, body: &str, random: &mut Random) {
        let about = match random.below(10) {
            0..3 if !about.is_empty() => format!("\"\"\"{about}\"\"\"\n"),
            3 if !about.is_empty() => format!("# {about}\n"),
            _ => String::new(),
        };
        if self.text.lines().count() > 1 && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
        self.text += &indented(&format!("def {head}:\n{}", indented(&(about + body))));
    }

    fn then(&mut self, line: &str) {
        self.statements += line;
        self.statements.push('\n');
    }

    /// Adds a line that asserts or prints the value of an expression.
    fn expect(&mut self, expression: &str, value: &str, random: &mut Random) {
        self.then(&match random.below(3) {
            0 => format!("print({expression})  # {value}"),
            1 => format!("print({expression})"),
            _ => format!("assert {}", equation(expression, value)),
        });
    }

    fn part(mut self, about: &str, variable: &str, random: &mut Random) -> Part {
        if let Some((name, value)) = self.shared.take()
            && random.chance(70)
        {
            self.expect(&format!("{variable}.{name}"), &value, random);
        }
        Part { import: None, about: about.into(), definition: self.text, statements: self.statements }
    }
}

fn shared_value(random: &mut Random) -> (&'static str, String) {
    let name = random.word("unit|code|limit|label|version|origin|maker|edition");
    let value = match name {
        "unit" => quoted(random.word("cm|kg|mile|euro|pound|litre|piece|box")),
        "origin" => quoted(random.word(TOWNS)),
        "label" | "maker" => quoted(random.word(NAMES)),
        _ => random.between(1, 999).to_string(),
    };
    (name, value)
}

/// Returns a class that stores an amount for each name.
fn store(random: &mut Random) -> Part {
    let name = random.word("Basket|Store|Shop|Cart|Warehouse|Pantry|Inventory|Ledger");
    let (_, pool) = random.pick(POOLS);
    let items = random.words(pool, 3);
    let held = random.word("items|amounts|stock|contents|goods");
    let (add, remove) = (random.word("add|put|store"), random.word("remove|take|sell"));
    let (item, amount) = (random.word("item|name|key"), random.word("amount|count|number"));
    let variable = name.to_ascii_lowercase();
    let about = format!("{} {variable} of things and how many there are.", capitalised(article(&variable)));

    let mut class = Class::new(&format!("class {name}"), &about, random);
    class.method("__init__(self)", "", &format!("self.{held} = {{}}\n"), random);
    class.method(
        &format!("{add}(self, {item}, {amount})"),
        "Put some more in.",
        &format!("self.{held}[{item}] = self.{held}.get({item}, 0) + {amount}\n"),
        random,
    );
    let removes = random.chance(60);
    if removes {
        class.method(
            &format!("{remove}(self, {item}, {amount})"),
            "Take some out, but no more than there are.",
            &format!(
                "if self.{held}.get({item}, 0) < {amount}:\n    return False\n\
                 self.{held}[{item}] -= {amount}\nreturn True\n"
            ),
            random,
        );
    }
    class.method("total(self)", "Count everything.", &format!("return sum(self.{held}.values())\n"), random);

    class.then(&format!("{variable} = {name}()"));
    let mut entries: Vec<(&str, i64)> = Vec::new();
    for item in items.iter().take(2) {
        let amount = random.between(2, 20);
        class.then(&format!("{variable}.{add}(\"{item}\", {amount})"));
        entries.push((item, amount));
    }
    if removes {
        let amount = random.between(1, 22);
        let taken = amount <= entries[0].1;
        let call = format!("{variable}.{remove}(\"{}\", {amount})", entries[0].0);
        class.then(&format!("assert {}", equation(&call, &truth(taken))));
        entries[0].1 -= if taken { amount } else { 0 };
    }
    let total: i64 = entries.iter().map(|entry| entry.1).sum();
    class.expect(&format!("{variable}.total()"), &total.to_string(), random);
    if random.chance(40) {
        class.expect(&format!("{variable}.{held}"), &dict(&entries), random);
    }
    class.part(&about, &variable, random)
}

/// Returns a class with one number that increases and decreases.
fn account(random: &mut Random) -> Part {
    let (name, held) = *random.pick(&[
        ("Account", "balance"),
        ("Tank", "level"),
        ("Battery", "charge"),
        ("Purse", "coins"),
        ("Counter", "count"),
        ("Train", "passengers"),
        ("Well", "water"),
        ("Budget", "money"),
    ]);
    let (up, down) =
        *random.pick(&[("add", "remove"), ("increase", "decrease"), ("fill", "drain"), ("gain", "lose")]);
    let owner = random.word(NAMES);
    let amount = random.word("amount|value|much|by");
    let start = random.between(0, 50);
    let variable = name.to_ascii_lowercase();
    let about = format!("{} {variable} with some {held}.", capitalised(article(&variable)));

    let mut class = Class::new(&format!("class {name}"), &about, random);
    class.method(
        &format!("__init__(self, owner, {held}=0)"),
        "",
        &format!("self.owner = owner\nself.{held} = {held}\n"),
        random,
    );
    class.method(
        &format!("{up}(self, {amount})"),
        &format!("{} the {held}.", capitalised(up)),
        &format!("self.{held} += {amount}\n"),
        random,
    );
    class.method(
        &format!("{down}(self, {amount})"),
        &format!("{} the {held}, which must not end below zero.", capitalised(down)),
        &format!(
            "if {amount} > self.{held}:\n    raise ValueError(\"not enough {held}\")\n\
             self.{held} -= {amount}\n"
        ),
        random,
    );
    if random.chance(50) {
        class.method(
            "__repr__(self)",
            "",
            &format!("return f\"{name}({{self.owner}}, {{self.{held}}})\"\n"),
            random,
        );
    }

    let (more, less) = (random.between(1, 30), random.between(1, 60));
    let given = if start == 0 { String::new() } else { format!(", {start}") };
    class.then(&format!("{variable} = {name}(\"{owner}\"{given})"));
    class.then(&format!("{variable}.{up}({more})"));
    let mut now = start + more;
    if less <= now {
        class.then(&format!("{variable}.{down}({less})"));
        now -= less;
    } else {
        class.then(&format!(
            "try:\n    {variable}.{down}({less})\nexcept ValueError as error:\n    print(error)"
        ));
    }
    class.expect(&format!("{variable}.{held}"), &now.to_string(), random);
    class.part(&about, &variable, random)
}

/// Returns a class of which items are added and removed in order.
fn stack(random: &mut Random) -> Part {
    let (name, take, at, first) = *random.pick(&[
        ("Stack", "pop", "", false),
        ("Queue", "take", "0", true),
        ("Pile", "lift", "", false),
        ("Line", "serve", "0", true),
        ("Tower", "unstack", "", false),
        ("Mailbox", "read", "0", true),
    ]);
    let put = random.word("push|append|put|add");
    let (one, pool) = *random.pick(POOLS);
    let items = random.words(pool, 3);
    let variable = name.to_ascii_lowercase();
    let about = match first {
        true => format!("A {variable} gives back first what came first."),
        false => format!("A {variable} gives back first what came last."),
    };

    let mut class = Class::new(&format!("class {name}"), &about, random);
    class.method("__init__(self)", "", &format!("self.{one}s = []\n"), random);
    class.method(
        &format!("{put}(self, {one})"),
        &format!("Put in one more {one}."),
        &format!("self.{one}s.append({one})\n"),
        random,
    );
    class.method(
        &format!("{take}(self)"),
        &format!("Take one {one}, or None."),
        &format!("if not self.{one}s:\n    return None\nreturn self.{one}s.pop({at})\n"),
        random,
    );
    class.method("__len__(self)", "", &format!("return len(self.{one}s)\n"), random);

    class.then(&format!("{variable} = {name}()"));
    if random.chance(50) {
        class.then(&format!("for {one} in {}:\n    {variable}.{put}({one})", texts(&items)));
    } else {
        for item in &items {
            class.then(&format!("{variable}.{put}(\"{item}\")"));
        }
    }
    let taken = if first { items[0] } else { items[2] };
    class.expect(&format!("{variable}.{take}()"), &quoted(taken), random);
    class.expect(&format!("len({variable})"), "2", random);
    class.part(&about, &variable, random)
}

/// Returns a data class of two numbers.
fn rectangle(random: &mut Random) -> Part {
    let (name, a, b, methods) = *random.pick(&[
        ("Rectangle", "width", "height", ["area", "*", "perimeter", "+", "2 * "]),
        ("Field", "length", "width", ["area", "*", "fence", "+", "2 * "]),
        ("Point", "x", "y", ["product", "*", "distance", "+", ""]),
        ("Order", "price", "amount", ["cost", "*", "checksum", "+", ""]),
        ("Trip", "speed", "hours", ["distance", "*", "effort", "+", "3 * "]),
    ]);
    let [product, _, sum, _, times] = methods;
    let (first, second) = (random.between(1, 20), random.between(1, 20));
    let factor = if times.is_empty() { 1 } else { i64::from(times.as_bytes()[0] - b'0') };
    let variable = name.to_ascii_lowercase();
    let about = format!("{} {variable} has {a} and {b}.", capitalised(article(&variable)));
    let data_class = random.chance(50);
    let head = format!("class {name}");

    let mut class = match data_class {
        true => Class::new(&format!("@dataclass\n{head}"), &about, random),
        false => Class::new(&head, &about, random),
    };
    if data_class {
        class.text += &format!("{INDENT}{a}: int\n{INDENT}{b}: int\n");
    } else {
        let body = format!("self.{a} = {a}\nself.{b} = {b}\n");
        class.method(&format!("__init__(self, {a}, {b})"), "", &body, random);
    }
    let body = format!("return self.{a} * self.{b}\n");
    class.method(&format!("{product}(self)"), "", &body, random);
    let both = format!("self.{a} + self.{b}");
    let body = match times {
        "" => format!("return {both}\n"),
        _ => format!("return {times}({both})\n"),
    };
    class.method(&format!("{sum}(self)"), "", &body, random);

    class.then(&match random.chance(30) {
        true => format!("{variable} = {name}({a}={first}, {b}={second})"),
        false => format!("{variable} = {name}({first}, {second})"),
    });
    let (product_value, sum_value) = (first * second, factor * (first + second));
    class.expect(&format!("{variable}.{product}()"), &product_value.to_string(), random);
    class.expect(&format!("{variable}.{sum}()"), &sum_value.to_string(), random);
    let import = data_class.then_some("from dataclasses import dataclass");
    Part { import, ..class.part(&about, &variable, random) }
}

/// Returns a class and a subclass of it.
fn animal(random: &mut Random) -> Part {
    let (base, derived, says) = *random.pick(&[
        ("Animal", "Dog", "woof"),
        ("Animal", "Cat", "meow"),
        ("Bird", "Owl", "hoo"),
        ("Animal", "Cow", "moo"),
        ("Bird", "Crow", "caw"),
        ("Machine", "Clock", "tick"),
        ("Machine", "Train", "choo"),
        ("Instrument", "Drum", "boom"),
        ("Instrument", "Bell", "ding"),
    ]);
    let name = random.word("Pepper|Button|Shadow|Pebble|Clover|Ginger|Thimble|Acorn|Soot|Hazel");
    let method = random.word("speak|sound|call|noise");
    let times = random.between(2, 4);
    let variable = derived.to_ascii_lowercase();
    let about = format!(
        "{} {variable} is one kind of {}.",
        capitalised(article(&variable)),
        base.to_ascii_lowercase()
    );

    let mut class = Class::new(&format!("class {base}"), "Something with a name.", random);
    class.method("__init__(self, name)", "", "self.name = name\n", random);
    let silent = random.word("return \"...\"\n|return \"\"\n|raise NotImplementedError\n");
    class.method(&format!("{method}(self)"), "", silent, random);

    let mut inner = Class::new(&format!("class {derived}({base})"), &about, random);
    if random.chance(50) {
        let body = "super().__init__(name)\nself.times = times\n";
        inner.method("__init__(self, name, times)", "", body, random);
        let body = format!("return self.name + \": \" + \"{says}\" * self.times\n");
        inner.method(&format!("{method}(self)"), "", &body, random);
        inner.then(&format!("{variable} = {derived}(\"{name}\", {times})"));
        let said = quoted(&format!("{name}: {}", says.repeat(times as usize)));
        inner.expect(&format!("{variable}.{method}()"), &said, random);
    } else {
        let body = format!("return f\"{{self.name}} says {says}\"\n");
        inner.method(&format!("{method}(self)"), "", &body, random);
        inner.then(&format!("{variable} = {derived}(\"{name}\")"));
        let said = quoted(&format!("{name} says {says}"));
        inner.expect(&format!("{variable}.{method}()"), &said, random);
    }
    if random.chance(40) {
        inner.expect(&format!("isinstance({variable}, {base})"), "True", random);
    }
    inner.text = format!("{}\n\n{}", class.text, inner.text);
    inner.part(&about, &variable, random)
}
