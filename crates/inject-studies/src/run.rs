//! How a study is carried out.

use std::path::PathBuf;

use serde::{Serialize, de::DeserializeOwned};

use super::{Journal, StudyError};

/// How a study is carried out: where it remembers, which part of it is done, and who is told.
///
/// It says nothing about what comes out: all parts together give the result of one run.
pub struct Run<'a> {
    /// Where finished units are taken down; without it, nothing outlives the process.
    pub journal: Option<PathBuf>,
    /// Journals of other parts of the study, whose units need not be done again.
    pub others: Vec<PathBuf>,
    /// Which part of the study to do.
    pub share: Share,
    /// Called before and after every unit, and during long ones.
    pub progress: &'a mut dyn FnMut(StudyProgress),
}

/// One of several parts of a study: every unit whose number leaves `part` when divided by `parts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Which part, counted from 0.
    pub part: usize,
    /// How many there are.
    pub parts: usize,
}

impl Share {
    /// All of it.
    pub const WHOLE: Share = Share { part: 0, parts: 1 };
}

/// How far a study has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StudyProgress {
    /// Finished units of this part.
    pub units_done: usize,
    /// Units of this part.
    pub units: usize,
    /// How much of the next unit is done, from 0 to 1.
    pub of_next: f64,
}

impl<'a> Run<'a> {
    /// All of it at once, in memory.
    pub fn in_memory(progress: &'a mut dyn FnMut(StudyProgress)) -> Self {
        Run { journal: None, others: Vec::new(), share: Share::WHOLE, progress }
    }

    /// Computes the units of this part that no journal holds, and gives the results of all that are known, in the order of
    /// `units`. `compute` may say how much of its unit is done; `about` says everything that the results depend on.
    ///
    /// # Errors
    ///
    /// Those of the journal, and what `compute` fails with. Finished units are kept.
    pub fn complete<U, R, E>(
        self,
        about: &impl Serialize,
        units: Vec<U>,
        mut compute: impl FnMut(&U, &mut dyn FnMut(f64)) -> Result<R, E>,
    ) -> Result<Vec<(U, R)>, E>
    where
        U: Serialize + DeserializeOwned + PartialEq + Clone,
        R: Serialize + DeserializeOwned + Clone,
        E: From<StudyError>,
    {
        let Share { part, parts } = self.share;
        if part >= parts {
            return Err(StudyError::NoSuchPart { part, parts }.into());
        }
        let mut journal = match &self.journal {
            None => Journal::in_memory(about),
            Some(path) => Journal::open(path, about)?,
        };
        self.others.iter().try_for_each(|path| journal.absorb(path))?;
        let mine: Vec<U> = units.iter().skip(part).step_by(parts).cloned().collect();
        let mut told = StudyProgress { units_done: 0, units: mine.len(), of_next: 0.0 };
        for unit in mine {
            (self.progress)(told);
            if journal.result(&unit).is_none() {
                let result =
                    compute(&unit, &mut |of_next| (self.progress)(StudyProgress { of_next, ..told }))?;
                journal.push(unit, result)?;
            }
            told.units_done += 1;
        }
        (self.progress)(told);
        let known = units.into_iter().filter_map(|unit| {
            let result = journal.result(&unit)?.clone();
            Some((unit, result))
        });
        Ok(known.collect())
    }
}
