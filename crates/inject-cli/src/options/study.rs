//! What every study has: a folder, a journal, parts.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
};

use clap::Args;
use inject_studies::{Run, Share};
use serde::Serialize;

use crate::{
    Failure, interrupt,
    options::OutputFolder,
    output::{note, say},
    progress::Meter,
};

/// Where a study's results go, and which part of it is done.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct StudyOptions {
    /// The folder for results [default: studies/ and the name of the study]. A study that was stopped goes on from what is there
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// Write the results to standard output as JSON, one object for each part of the study, instead of tables
    #[arg(long)]
    pub(crate) json: bool,
    /// Do one part of the work, such as 1/3 for the first of three. Each part needs a folder of its own
    #[arg(long, value_name = "PART/PARTS", value_parser = parse_share)]
    pub(crate) share: Option<Share>,
    /// Take over the results in the journal of another part (a .jsonl file); may be repeated
    #[arg(long, value_name = "FILE")]
    pub(crate) merge: Vec<PathBuf>,
}

/// A study that is being carried out.
pub(crate) struct Study {
    options: StudyOptions,
    folder: OutputFolder,
    /// The journals to take over, each with the name of the study that it belongs to.
    merge: Vec<(String, PathBuf)>,
}

fn parse_share(text: &str) -> Result<Share, String> {
    let wrong = || "expected PART/PARTS, such as 1/3 for the first of three parts".to_owned();
    let (part, parts) = text.split_once('/').ok_or_else(wrong)?;
    let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
    let (part, parts) = (number(part)?, number(parts)?);
    match part.checked_sub(1) {
        Some(part) if part < parts => Ok(Share { part, parts }),
        _ => Err(wrong()),
    }
}

impl StudyOptions {
    /// Opens the folder and sorts the journals to take over. `names` are the studies that this command carries out.
    ///
    /// # Errors
    ///
    /// [`Failure`] if the folder cannot be written to, or a journal belongs to none of the studies.
    pub(crate) fn begin(&self, command: &str, names: &[&str]) -> Result<Study, Failure> {
        let merge = self.merge.iter().map(|path| {
            let name = study_of(path)?;
            if names.contains(&name.as_str()) {
                Ok((name, path.clone()))
            } else {
                let (path, expected) = (path.display(), names.join(" or "));
                Err(Failure::usage(format!(
                    "--merge {path}: the journal of the study {name}, expected {expected}"
                )))
            }
        });
        let merge = merge.collect::<Result<Vec<_>, Failure>>()?;
        let folder = self.out.clone().unwrap_or_else(|| Path::new("studies").join(command));
        let folder = OutputFolder::open(&folder)?;
        interrupt::advise("what is finished is in the journal; the same command goes on from there");
        Ok(Study { options: self.clone(), folder, merge })
    }
}

impl Study {
    pub(crate) fn folder(&self) -> &OutputFolder {
        &self.folder
    }

    /// Carries out one study with its journal in the folder, and writes the result to `NAME.json` beside it.
    ///
    /// # Errors
    ///
    /// [`Failure`] if the study fails or the result cannot be written.
    pub(crate) fn carry_out<S: Serialize, E: Into<Failure>>(
        &self,
        name: &str,
        study: impl FnOnce(Run<'_>) -> Result<S, E>,
    ) -> Result<S, Failure> {
        let mut meter = Meter::new();
        let mut progress = |report: inject_studies::StudyProgress| meter.show_study(name, report);
        let journal = format!("{name}.jsonl");
        let others = self.merge.iter().filter(|(of, _)| of == name).map(|(_, path)| path.clone());
        let run = Run {
            journal: Some(self.folder.path().join(&journal)),
            others: others.collect(),
            share: self.options.share.unwrap_or(Share::WHOLE),
            progress: &mut progress,
        };
        let result = study(run).map_err(Into::into)?;
        drop(meter);
        self.folder.record(&journal);
        let json = serde_json::to_string_pretty(&result)?;
        self.folder.write(&format!("{name}.json"), &json)?;
        if self.options.json {
            say(&json);
        }
        Ok(result)
    }

    /// Shows a text, unless JSON goes to standard output.
    pub(crate) fn show(&self, text: &str) {
        if !self.options.json {
            say(text);
        }
    }

    /// Ends the study: names what was written.
    pub(crate) fn finish(self) {
        if let Some(Share { part, parts }) = self.options.share {
            self.end_line(&format!(
                "this run did part {} of {parts}; --merge takes over the results of the others",
                part + 1
            ));
        }
        self.end_line(&self.folder.summary());
    }

    fn end_line(&self, text: &str) {
        if self.options.json { note(text) } else { say(text) }
    }
}

/// The name of the study that a journal belongs to, from its first line.
fn study_of(path: &Path) -> Result<String, Failure> {
    /// Longer than the description of any study of a million prompts.
    const LONGEST: u64 = 1 << 28;
    let file = File::open(path).map_err(Failure::io("open", path))?;
    let mut line = String::new();
    let reader = BufReader::new(std::io::Read::take(file, LONGEST)).read_line(&mut line);
    reader.map_err(Failure::io("read", path))?;
    let about: Option<serde_json::Value> = serde_json::from_str(&line).ok();
    let name = about.as_ref().and_then(|about| about["study"].as_str());
    name.map(str::to_owned)
        .ok_or_else(|| Failure::usage(format!("--merge {}: expected the journal of a study", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_counted_from_one() {
        assert_eq!(parse_share("1/3"), Ok(Share { part: 0, parts: 3 }));
        assert_eq!(parse_share("3/3"), Ok(Share { part: 2, parts: 3 }));
        for text in ["", "3", "0/3", "4/3", "a/b", "1/3/5", "-1/3"] {
            assert!(parse_share(text).unwrap_err().contains("PART/PARTS"), "{text}");
        }
    }

    #[test]
    fn a_journal_says_which_study_it_belongs_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        std::fs::write(&path, "{\"study\":\"margins\",\"model\":\"a\"}\n{\"unit\":0}\n").unwrap();
        assert_eq!(study_of(&path).unwrap(), "margins");
        let options = StudyOptions {
            out: Some(dir.path().join("out")),
            json: false,
            share: None,
            merge: vec![path.clone()],
        };
        let error = options.begin("stress", &["stress", "repeats"]).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("study margins, expected stress or repeats"), "{error}");
        assert!(!dir.path().join("out").exists());
        std::fs::write(&path, "Dear diary\n").unwrap();
        assert!(study_of(&path).unwrap_err().to_string().contains("expected the journal of a study"));
        assert!(study_of(&dir.path().join("none")).unwrap_err().to_string().contains("cannot open"));
    }
}
