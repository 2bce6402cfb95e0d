//! Reports: one page for a browser, with its tables as CSV files and its figures as pictures beside it.

use crate::{
    options::OutputFolder,
    outcome::Failure,
    plot::Figure,
    table::{Table, escaped},
};

pub use crate::table::Cell;

/// The results of a command, in the order in which they are read.
#[derive(Clone, Debug)]
pub struct Report {
    title: String,
    facts: Vec<(&'static str, String)>,
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Heading(String),
    Paragraph(String),
    Quote(String),
    Table { file: Option<String>, table: Table },
    Figure { file: String, figure: Figure },
}

const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;overflow-wrap:anywhere}\
    .wide{overflow-x:auto;margin:1em 0}table{border-collapse:collapse;white-space:nowrap}caption{text-align:left;font-weight:bold}\
    td,th{padding:.2em .7em;border-bottom:1px solid #ccc;text-align:left}.n{text-align:right}svg{max-width:100%;height:auto}\
    pre{white-space:pre-wrap;background:#f6f6f6;padding:.5em;margin:.3em 0}dt{font-weight:bold}dd{margin:0 0 .3em 0}";

impl Report {
    /// Creates an empty report, which says which command gives these results, and with which version. The page of merged shares is that
    /// of one run, so it contains neither the time nor the division.
    pub fn new(title: impl Into<String>) -> Self {
        let facts = vec![
            ("Command", command_line(undivided(std::env::args().skip(1)))),
            ("Version", format!("inject {}", env!("CARGO_PKG_VERSION"))),
        ];
        Report { title: title.into(), facts, parts: Vec::new() }
    }

    /// Adds a fact that everything depends on, such as the model.
    pub fn fact(&mut self, name: &'static str, value: impl ToString) {
        self.facts.push((name, value.to_string()));
    }

    /// Begins a section with a heading.
    pub fn heading(&mut self, text: impl Into<String>) {
        self.parts.push(Part::Heading(text.into()));
    }

    /// Adds a paragraph to the section.
    pub fn paragraph(&mut self, text: impl Into<String>) {
        self.parts.push(Part::Paragraph(text.into()));
    }

    /// Adds a text of another author.
    pub fn quote(&mut self, text: impl Into<String>) {
        self.parts.push(Part::Quote(text.into()));
    }

    /// Adds a table, which is also written to `FILE.csv`.
    pub fn table(&mut self, file: &str, table: Table) {
        self.parts.push(Part::Table { file: Some(file.to_owned()), table });
    }

    /// Adds a table to the page alone.
    pub fn table_on_page(&mut self, table: Table) {
        self.parts.push(Part::Table { file: None, table });
    }

    /// Adds a figure, which is also written to `FILE.svg` and `FILE.png`.
    pub fn figure(&mut self, file: &str, figure: Figure) {
        self.parts.push(Part::Figure { file: file.to_owned(), figure });
    }

    /// Writes the page as `report.html`, and the tables and figures beside it.
    ///
    /// # Errors
    ///
    /// [`Failure`] if a file cannot be written.
    pub(crate) fn write(&self, folder: &OutputFolder) -> Result<(), Failure> {
        for part in &self.parts {
            match part {
                Part::Table { file: Some(file), table } => {
                    folder.write(&format!("{file}.csv"), table.csv())?
                }
                Part::Figure { file, figure } if folder.is_writable() => {
                    folder.write(&format!("{file}.svg"), figure.svg()?)?;
                    let name = format!("{file}.png");
                    figure.write_png(&folder.path().join(&name))?;
                    folder.record(&name);
                }
                _ => {}
            }
        }
        folder.write("report.html", self.html()?)
    }

    /// One page that needs no other file.
    fn html(&self) -> Result<String, Failure> {
        let title = escaped(&self.title);
        let mut text = format!(
            "<!doctype html><html lang=en><meta charset=utf-8>\
             <meta name=viewport content=\"width=device-width,initial-scale=1\">\
             <title>{title}</title><style>{STYLE}</style>\n<h1>{title}</h1>\n<dl>"
        );
        for (name, value) in &self.facts {
            text += &format!("<dt>{name}<dd>{}", escaped(value));
        }
        text += "</dl>\n";
        for part in &self.parts {
            text += &match part {
                Part::Heading(heading) => format!("<h2>{}</h2>\n", escaped(heading)),
                Part::Paragraph(paragraph) => format!("<p>{}</p>\n", escaped(paragraph)),
                Part::Quote(quote) => format!("<pre>{}</pre>\n", escaped(quote)),
                Part::Table { table, .. } => table.html(),
                Part::Figure { figure, .. } => {
                    let svg = figure.svg()?;
                    // Inside a page, an XML declaration is not allowed, and a fixed size does not fit a narrow screen.
                    let svg = svg.find("<svg").map_or("", |begin| &svg[begin..]);
                    format!("{}\n", svg.replacen("<svg ", "<svg role=img ", 1))
                }
            };
        }
        Ok(text)
    }
}

/// Leaves out the options that say where the results go and which share is computed. The values of an option end where the next one
/// begins.
fn undivided(arguments: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let mut left_out = false;
    arguments.filter(move |argument| {
        if let Some(option) = argument.strip_prefix("--") {
            let name = option.split('=').next();
            left_out = name.is_some_and(|name| ["out", "share", "merge", "json"].contains(&name));
        }
        !left_out
    })
}

/// A command line of the program that a shell takes back.
fn command_line(arguments: impl Iterator<Item = String>) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./,:=@+%".contains(c);
    let quoted = |argument: String| match !argument.is_empty() && argument.chars().all(plain) {
        true => argument,
        false => format!("'{}'", argument.replace('\'', r"'\''")),
    };
    std::iter::once("inject".to_owned()).chain(arguments.map(quoted)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plot::{Axis, Mark};

    #[test]
    fn a_command_line_comes_back_from_a_shell() {
        let arguments = ["invert", "--text", "It's <b>."].map(str::to_owned);
        assert_eq!(command_line(arguments.into_iter()), r"inject invert --text 'It'\''s <b>.'");
    }

    #[test]
    fn all_shares_and_their_merge_have_one_command() {
        let whole = "study margins --count 2 --prompts p.txt --taps block-1";
        for divided in [
            "study margins --share 1/2 --count 2 --prompts p.txt --out a/b --taps block-1",
            "study margins --count 2 --prompts p.txt --merge a b c --taps block-1 --json",
            "study margins --count 2 --out=a --json --prompts p.txt --share=1/2 --merge=a --taps block-1 --merge b",
        ] {
            let arguments = divided.split(' ').map(str::to_owned);
            assert_eq!(undivided(arguments).collect::<Vec<_>>().join(" "), whole, "{divided}");
        }
    }

    #[test]
    fn a_page_says_where_it_comes_from_and_fits_a_narrow_screen() {
        let mut report = Report::new("A <study>");
        report.fact("Model", "a & b");
        report.figure(
            "f",
            Figure::new("t", Axis::linear("x"), Axis::linear("y")).with("s", Mark::Dots, [(1.0, 2.0)]),
        );
        report.table("t", crate::table::rows("", [1_usize]).columns([("a", &|&count| count.into())]));
        let html = report.html().unwrap();
        for part in ["A &lt;study>", "<dt>Command<dd>inject", "inject 0.", "a &amp; b", "width=device-width"]
        {
            assert!(html.contains(&part.replace("study>", "study&gt;")), "{part} is not in {html}");
        }
        let folder = tempfile::tempdir().unwrap();
        let out = OutputFolder::open(folder.path()).unwrap();
        report.write(&out).unwrap();
        assert!(out.summary().ends_with("f.svg/png, t.csv, report.html"), "{}", out.summary());
    }
}
