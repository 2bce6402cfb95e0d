//! Python modules: definitions with their documentation, and statements that use them.
//!
//! For every definition, the generator computes the value for some arguments. So the assertions and comments of the modules are
//! true, and the modules run without errors.

mod classes;
mod dicts;
mod lists;
mod numbers;
mod scripts;
mod texts;
mod values;

use super::random::Random;
use super::words::article;
use values::Value;

const INDENT: &str = "    ";

/// Returns a module without a final line feed.
pub(super) fn module(random: &mut Random) -> String {
    let mut module = Module::default();
    match random.below(20) {
        0..7 => module.define_functions(random, 1),
        7..11 => module.define_functions(random, 2),
        11..15 => module.add(scripts::script(random)),
        _ => module.add(classes::class(random)),
    }
    module.written(random)
}

/// A part of a module: its imports, definitions and statements.
#[derive(Default)]
struct Part {
    import: Option<&'static str>,
    about: String,
    definition: String,
    statements: String,
}

/// A function with one call and its computed value.
struct Function {
    name: String,
    parameters: Vec<Parameter>,
    about: String,
    /// The statements of the body, not yet indented. Each line ends with a line feed.
    body: String,
    /// The value of the call with the parameters' values.
    value: Value,
}

struct Parameter {
    name: String,
    value: Value,
}

impl Parameter {
    fn new(name: impl Into<String>, value: Value) -> Self {
        Self { name: name.into(), value }
    }

    fn number(name: &str, value: i64) -> Self {
        Self::new(name, Value::number(value))
    }

    fn text(name: &str, value: &str) -> Self {
        Self::new(name, Value::text(value))
    }
}

impl Function {
    fn draw(random: &mut Random) -> Self {
        let functions = match random.below(20) {
            0..3 => numbers::FUNCTIONS,
            3..10 => lists::FUNCTIONS,
            10..15 => texts::FUNCTIONS,
            _ => dicts::FUNCTIONS,
        };
        random.pick(functions)(random)
    }

    fn part(self, random: &mut Random) -> Part {
        let mut definition = self.head(random);
        definition.push_str(&indented(&self.docstring(random)));
        definition.push_str(&indented(&self.body));
        let statements = match random.below(4) {
            0 => self.assertion(),
            1 => self.printed(random),
            _ => self.with_variables(random),
        };
        Part { import: self.import(), about: self.about, definition, statements }
    }

    /// The import that the body needs.
    fn import(&self) -> Option<&'static str> {
        let imports = [
            ("Counter(", "from collections import Counter"),
            ("defaultdict(", "from collections import defaultdict"),
            ("accumulate(", "from itertools import accumulate"),
            ("math.", "import math"),
            ("re.findall(", "import re"),
        ];
        imports.into_iter().find(|(used, _)| self.body.contains(used)).map(|(_, import)| import)
    }

    fn head(&self, random: &mut Random) -> String {
        let hints = random.chance(25);
        let write = |parameter: &Parameter| match hints {
            true => format!("{}: {}", parameter.name, parameter.value.hint),
            false => parameter.name.clone(),
        };
        let parameters: Vec<String> = self.parameters.iter().map(write).collect();
        let arrow = if hints { format!(" -> {}", self.value.hint) } else { String::new() };
        format!("def {}({}){arrow}:\n", self.name, parameters.join(", "))
    }

    fn docstring(&self, random: &mut Random) -> String {
        match random.below(10) {
            0..3 => String::new(),
            3 => format!("# {}\n", self.about),
            // A doctest shows strings in single quotes, and does not show None.
            4..6 if !self.value.literal.contains('"') && self.value.literal != "None" => {
                format!(
                    "\"\"\"{}\n\n>>> {}\n{}\n\"\"\"\n",
                    self.about,
                    self.call_with_values(),
                    self.value.literal
                )
            }
            _ => format!("\"\"\"{}\"\"\"\n", self.about),
        }
    }

    fn call_with_values(&self) -> String {
        let values: Vec<&str> = self.parameters.iter().map(|p| p.value.literal.as_str()).collect();
        format!("{}({})", self.name, values.join(", "))
    }

    fn assertion(&self) -> String {
        format!("assert {}\n", equation(&self.call_with_values(), &self.value.literal))
    }

    fn printed(&self, random: &mut Random) -> String {
        let note = if random.chance(60) { format!("  # {}", self.value.literal) } else { String::new() };
        format!("print({}){note}\n", self.call_with_values())
    }

    /// Returns statements that assign the arguments to variables named after the parameters, call the function, and use its
    /// result.
    fn with_variables(&self, random: &mut Random) -> String {
        let mut lines = String::new();
        for parameter in &self.parameters {
            lines += &format!("{} = {}\n", parameter.name, parameter.value.literal);
        }
        let by_keyword = random.chance(20);
        let write = |parameter: &Parameter| match by_keyword {
            true => format!("{0}={0}", parameter.name),
            false => parameter.name.clone(),
        };
        let names: Vec<String> = self.parameters.iter().map(write).collect();
        let result = random.word("result|answer|found|outcome|value");
        lines += &format!("{result} = {}({})\n", self.name, names.join(", "));
        lines += &match random.below(4) {
            0 => format!("print({result})\n"),
            1 => format!("assert {}\n", equation(result, &self.value.literal)),
            2 => format!("print(\"{result}:\", {result})  # {}\n", self.value.literal),
            _ => format!(
                "if {}:\n    print(\"{}\")\nelse:\n    print(\"{}\", {result})\n",
                equation(result, &self.value.literal),
                random.word("ok|as expected|correct|passed"),
                random.word("wrong|unexpected|failed with|not expected:"),
            ),
        };
        lines
    }
}

#[derive(Default)]
struct Module {
    parts: Vec<Part>,
}

impl Module {
    fn add(&mut self, part: Part) {
        self.parts.push(part);
    }

    fn define_functions(&mut self, random: &mut Random, count: usize) {
        let mut names: Vec<String> = Vec::new();
        while names.len() < count {
            let function = Function::draw(random);
            // A second function with the same name would replace the first.
            if !names.contains(&function.name) {
                names.push(function.name.clone());
                let part = function.part(random);
                self.add(part);
            }
        }
    }

    fn written(&self, random: &mut Random) -> String {
        let mut sections = Vec::new();
        let first = &self.parts[0];
        let documented = first.definition.contains(&first.about);
        match random.below(10) {
            0..2 if !documented => sections.push(format!("\"\"\"{}\"\"\"", first.about)),
            2..4 if !documented => sections.push(format!("# {}", first.about)),
            4..8 => sections.push(title(random)),
            _ => {}
        }
        let mut imports: Vec<&str> = self.parts.iter().filter_map(|part| part.import).collect();
        imports.sort_unstable();
        imports.dedup();
        if !imports.is_empty() {
            sections.push(imports.join("\n"));
        }
        let definitions = self.parts.iter().filter(|part| !part.definition.is_empty());
        sections.extend(definitions.map(|part| part.definition.trim_end().to_owned()));
        let statements: String = self.parts.iter().map(|part| part.statements.as_str()).collect();
        sections.push(match random.below(10) {
            0..2 => format!("if __name__ == \"__main__\":\n{}", indented(&statements)),
            2 => format!("def main():\n{}\n\nmain()", indented(&statements)),
            _ => statements,
        });
        let gap = random.word("\n\n|\n\n\n");
        sections.join(gap).trim_end().to_owned()
    }
}

fn title(random: &mut Random) -> String {
    let part = random.word("Exercise|Task|Lesson|Example|Problem|Part|Question|Page");
    let author = random.word(values::NAMES);
    format!("# {part} {}, by {author}.", random.between(1, 999))
}

/// Returns a condition that is true if and only if `left` has the value of the literal `value`.
fn equation(left: &str, value: &str) -> String {
    match value {
        "True" => left.into(),
        "False" => format!("not {left}"),
        "None" => format!("{left} is None"),
        _ => format!("{left} == {value}"),
    }
}

/// Indents every line by one step. Empty lines stay empty.
fn indented(lines: &str) -> String {
    let mut out = String::with_capacity(lines.len() + 40);
    for line in lines.lines() {
        if !line.is_empty() {
            out.push_str(INDENT);
            out.push_str(line);
        }
        out.push('\n');
    }
    out
}
