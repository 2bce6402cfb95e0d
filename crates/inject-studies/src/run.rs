//! The execution of a study.

use std::path::PathBuf;

use inject_sipit::models::{Progress, Unit, silent};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    completeness::Completeness,
    error::StudyError,
    journal::{Description, Journal},
};

/// The settings with which a study is executed: its journal, the part to do, and the receiver of progress.
///
/// They do not affect the results: all parts together give the result of a single run.
pub struct Run<'a> {
    journal: Option<PathBuf>,
    others: Vec<PathBuf>,
    part: Part,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

/// One of several parts of a study. It contains the units whose index modulo the number of parts is the number of the part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    number: usize,
    of: usize,
}

impl Part {
    /// The single part of an undivided study.
    pub const WHOLE: Part = Part { number: 0, of: 1 };

    /// Creates part `number` of `of` parts, counted from 0.
    ///
    /// # Errors
    ///
    /// [`StudyError::NoSuchPart`] if the number is not less than the number of parts.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_studies::{Part, StudyError};
    ///
    /// assert_eq!(Part::new(0, 1)?, Part::WHOLE);
    /// assert!(matches!(Part::new(3, 3), Err(StudyError::NoSuchPart { part: 3, parts: 3 })));
    /// # Ok::<(), StudyError>(())
    /// ```
    pub fn new(number: usize, of: usize) -> Result<Self, StudyError> {
        match number < of {
            true => Ok(Part { number, of }),
            false => Err(StudyError::NoSuchPart { part: number, parts: of }),
        }
    }

    /// Returns the number of the part, counted from 0.
    pub fn number(self) -> usize {
        self.number
    }

    /// Returns the number of parts.
    pub fn of(self) -> usize {
        self.of
    }
}

/// The result of [`Run::complete`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Finished<U, R> {
    /// The finished units in the order of the study, each with its result.
    pub results: Vec<(U, R)>,
    /// The description of the finished and missing units.
    pub completeness: Completeness,
}

impl<'a> Run<'a> {
    /// Creates settings to run the whole study without a journal. `progress` is called before and after every unit, and during
    /// long ones.
    pub fn in_memory(progress: &'a mut dyn FnMut(Progress<'_>)) -> Self {
        Run { journal: None, others: Vec::new(), part: Part::WHOLE, progress }
    }

    /// Creates settings to run the whole study without a journal and without reports of progress.
    pub fn silent() -> Run<'static> {
        // A function item has size zero, so the box allocates nothing.
        Run::in_memory(Box::leak(Box::new(silent)))
    }

    /// Sets the file in which finished units are recorded. Units that it already contains are not computed again.
    pub fn with_journal(self, journal: impl Into<PathBuf>) -> Self {
        Run { journal: Some(journal.into()), ..self }
    }

    /// Sets the journals of other parts of the study, whose units are included in the result.
    pub fn with_other_journals(self, others: Vec<PathBuf>) -> Self {
        Run { others, ..self }
    }

    /// Sets the part of the study to do.
    pub fn with_part(self, part: Part) -> Self {
        Run { part, ..self }
    }

    /// Computes the units of this part that are in no journal. Returns the results of all finished units.
    ///
    /// Every study of this crate is executed by this function, and a study of another crate can be too. `about` must contain
    /// everything on which the results depend. `compute` may report the finished share of its unit.
    ///
    /// # Errors
    ///
    /// The errors of the journal and of `compute`. Finished units stay recorded.
    ///
    /// # Example
    ///
    /// ```
    /// use inject_studies::{Run, StudyError, StudyName, journal::Description};
    ///
    /// let about = Description::new(StudyName::Lengths, serde_json::json!({ "largest": 3 }));
    /// let squares = Run::silent().complete(&about, vec![1, 2, 3], |&number: &u32, _| Ok::<_, StudyError>(number * number))?;
    /// assert_eq!(squares.results, [(1, 1), (2, 4), (3, 9)]);
    /// assert!(squares.completeness.complete);
    /// # Ok::<(), StudyError>(())
    /// ```
    pub fn complete<U, R, E>(
        self,
        about: &Description,
        units: Vec<U>,
        mut compute: impl FnMut(&U, &mut dyn FnMut(f64)) -> Result<R, E>,
    ) -> Result<Finished<U, R>, E>
    where
        U: Serialize + DeserializeOwned + PartialEq + Clone,
        R: Serialize + DeserializeOwned + Clone,
        E: From<StudyError>,
    {
        let mut journal = match &self.journal {
            None => Journal::in_memory(about),
            Some(path) => Journal::open(path, about)?,
        };
        self.others.iter().try_for_each(|path| journal.absorb(path))?;
        let mine: Vec<U> = units.iter().skip(self.part.number).step_by(self.part.of).cloned().collect();
        let total = mine.len() as u64;
        let told = |done: usize| Progress::new(about.study().as_str(), Unit::Units, done as u64, total);
        for (done, unit) in mine.into_iter().enumerate() {
            (self.progress)(told(done));
            if journal.result(&unit).is_none() {
                let result = compute(&unit, &mut |part| (self.progress)(told(done).with_part(part)))?;
                journal.push(unit, result)?;
            }
        }
        (self.progress)(told(total as usize));
        let missing: Vec<U> = units.iter().filter(|unit| journal.result(unit).is_none()).cloned().collect();
        let completeness = Completeness::of(units.len(), missing);
        let known = units.into_iter().filter_map(|unit| {
            let result = journal.result(&unit)?.clone();
            Some((unit, result))
        });
        Ok(Finished { results: known.collect(), completeness })
    }
}
