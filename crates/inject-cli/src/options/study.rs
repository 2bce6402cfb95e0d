//! The folder, the journal and the shares that every study has.

use std::{
    cell::RefCell,
    path::{Path, PathBuf},
};

use clap::Args;
use inject_sipit::{
    models::Progress,
    states::{Share, durable::checksum_member},
};
use inject_studies::{
    Completeness, Run, StudyName, corpus::CorpusStudy, decoding::DecodingStudy, exhaustive::ExhaustiveStudy,
    formats::FormatStudy, journal::study_of, lengths::LengthStudy, margins::MarginStudy,
    recovery::RecoveryStudy, repeats::RepeatStudy, stress::StressStudy,
};
use serde::Serialize;

use crate::{
    compare_policies, depth, interrupt,
    options::{OutputFolder, PromptOptions},
    outcome::{Failure, chain},
    output::{note, say, say_json},
    progress::Meter,
    report::Report,
    study,
};

/// The folder of a study's results, and the share of it that is done.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Output")]
pub(crate) struct StudyOptions {
    /// The folder for results [default: studies/ and the name of the study]. A stopped study continues from what is there
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// Write the results to standard output as JSON, one object for each part of the study, instead of tables
    #[arg(long)]
    pub(crate) json: bool,
    /// Do one share of the work, such as 1/3 for the first of three. Each share needs a folder of its own
    #[arg(long, value_name = "SHARE/SHARES")]
    pub(crate) share: Option<Share>,
    /// Add the results of other shares from their journals (.jsonl files)
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub(crate) merge: Vec<PathBuf>,
}

/// A study that is being carried out.
pub(crate) struct Study {
    options: StudyOptions,
    folder: OutputFolder,
    /// The journals to take over, each with the name of the study that it belongs to.
    merge: Vec<(StudyName, PathBuf)>,
    /// The studies carried out so far.
    done: RefCell<Vec<(StudyName, Completeness)>>,
}

/// A study's result, which the program writes as JSON and knows to be complete or not.
pub(crate) trait StudyResult: Serialize {
    /// The units that it contains.
    fn completeness(&self) -> &Completeness;
}

macro_rules! study_results {
    ($($result:ty),* $(,)?) => {
        $(impl StudyResult for $result {
            fn completeness(&self) -> &Completeness {
                &self.completeness
            }
        })*
    };
}

study_results!(
    CorpusStudy,
    DecodingStudy,
    ExhaustiveStudy,
    FormatStudy,
    LengthStudy,
    MarginStudy,
    RecoveryStudy,
    RepeatStudy,
    StressStudy,
    compare_policies::Comparison,
    depth::Depth,
    study::Starts,
    study::Trainings,
);

impl StudyResult for study::Drawn {
    fn completeness(&self) -> &Completeness {
        &self.found.completeness
    }
}

impl StudyOptions {
    /// Checks that the prompts can be read as often as they are: by this run, by the other shares and by the merge.
    ///
    /// # Errors
    ///
    /// [`Failure`] if they come from a pipe or a device and are read more than once.
    pub(crate) fn check_prompts(&self, prompts: &PromptOptions, readings: usize) -> Result<(), Failure> {
        let in_parts = self.share.is_some() || !self.merge.is_empty();
        if in_parts || readings > 1 { prompts.check_rereadable() } else { Ok(()) }
    }

    /// Opens the folder and sorts the journals to take over. `names` are the studies that this command carries out.
    ///
    /// # Errors
    ///
    /// [`Failure`] if the folder cannot be written to, or a journal belongs to none of the studies.
    pub(crate) fn begin(&self, command: &str, names: &[StudyName]) -> Result<Study, Failure> {
        let merge = self.merge.iter().map(|path| {
            let shown = path.display();
            let name = study_of(path).map_err(|error| {
                Failure::new(format!("--merge takes the journal of a study: {}", chain(&error)))
            })?;
            if names.contains(&name) {
                return Ok((name, path.clone()));
            }
            let expected = names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" or ");
            Err(Failure::usage(format!(
                "--merge {shown}: the journal of the study {name}, expected {expected}"
            )))
        });
        let merge = merge.collect::<Result<Vec<_>, Failure>>()?;
        let folder = self.out.clone().unwrap_or_else(|| Path::new("studies").join(command));
        let folder = OutputFolder::open_or_read(&folder)?;
        interrupt::advise("finished parts are in the journal; the same command continues from there");
        Ok(Study { options: self.clone(), folder, merge, done: RefCell::default() })
    }
}

impl Study {
    pub(crate) fn folder(&self) -> &OutputFolder {
        &self.folder
    }

    /// Runs one study with its journal in the folder, and writes the result to `NAME.json` beside it.
    ///
    /// # Errors
    ///
    /// [`Failure`] if the study fails or the result cannot be written.
    pub(crate) fn carry_out<S: StudyResult, E: Into<Failure>>(
        &self,
        name: StudyName,
        study: impl FnOnce(Run<'_>) -> Result<S, E>,
    ) -> Result<S, Failure> {
        let mut meter = Meter::new();
        let journal = format!("{name}.jsonl");
        let others = self.merge.iter().filter(|(of, _)| *of == name).map(|(_, path)| path.clone());
        let mut progress = |progress: Progress<'_>| meter.show(progress);
        let run = Run::in_memory(&mut progress)
            .with_journal(self.folder.path().join(&journal))
            .with_other_journals(others.collect())
            .with_share(self.options.share.unwrap_or(Share::WHOLE));
        let result = study(run).map_err(Into::into)?;
        drop(meter);
        self.folder.record(&journal);
        self.done.borrow_mut().push((name, result.completeness().clone()));
        let json = serde_json::to_string_pretty(&result)?;
        self.folder.write(&format!("{name}.json"), checksum_member::added(json.clone()))?;
        if self.options.json {
            say_json(&json);
        }
        Ok(result)
    }

    /// Writes a report into the folder. It says which results are incomplete.
    ///
    /// # Errors
    ///
    /// [`Failure`] if a file cannot be written.
    pub(crate) fn write(&self, report: &Report) -> Result<(), Failure> {
        let mut report = report.clone();
        for (name, completeness) in self.done.borrow().iter().filter(|(_, units)| !units.complete) {
            report.fact("Completeness", format!("{name} is {completeness}"));
        }
        report.write(&self.folder)
    }

    /// Shows a text, unless JSON goes to standard output.
    pub(crate) fn show(&self, text: &str) {
        if !self.options.json {
            say(text);
        }
    }

    /// Ends the study: says what of it is done where that is not plain, and names the files written.
    pub(crate) fn finish(self) {
        let in_parts = self.options.share.is_some() || !self.merge.is_empty();
        for (name, completeness) in self.done.borrow().iter() {
            if in_parts || !completeness.complete {
                self.end_line(&format!("{name} is {completeness}"));
            }
        }
        if let Some(share) = self.options.share {
            self.end_line(&format!("this run did share {share}; --merge adds the results of the others"));
        }
        self.end_line(&self.folder.summary());
    }

    fn end_line(&self, text: &str) {
        if self.options.json { note(text) } else { say(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_of_another_study_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal.jsonl");
        let options = StudyOptions {
            out: Some(dir.path().join("out")),
            json: false,
            share: None,
            merge: vec![path.clone()],
        };
        let refused = || {
            let begun = options.begin("stress", &[StudyName::Stress, StudyName::Repeats]);
            begun.map(|_| ()).unwrap_err().to_string()
        };
        assert!(refused().contains("cannot open"), "{}", refused());
        std::fs::write(&path, "{\"study\":\"margins\",\"model\":\"a\"}\n{\"unit\":0}\n").unwrap();
        assert!(refused().contains("study margins, expected stress or repeats"), "{}", refused());
        std::fs::write(&path, "Dear diary\n").unwrap();
        assert!(refused().contains("--merge takes the journal of a study"), "{}", refused());
        assert!(!dir.path().join("out").exists());
    }
}
