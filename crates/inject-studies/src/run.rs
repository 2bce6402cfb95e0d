//! The execution of a study.

use std::path::PathBuf;

use inject_sipit::models::{Progress, Unit, silent};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    completeness::Completeness,
    error::StudyError,
    journal::{Description, Journal},
};

/// The execution of a study: the journal that records it, the part that is done, and the receiver of progress.
///
/// It has no influence on the results: all parts together give the result of one run.
pub struct Run<'a> {
    journal: Option<PathBuf>,
    others: Vec<PathBuf>,
    part: Part,
    progress: &'a mut dyn FnMut(Progress<'_>),
}

/// One of several parts of a study: the units whose number leaves the part's number when divided by the number of parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    number: usize,
    of: usize,
}

impl Part {
    /// The only part of a study that is not divided.
    pub const WHOLE: Part = Part { number: 0, of: 1 };

    /// Part `number` of `of` parts, counted from 0.
    ///
    /// # Errors
    ///
    /// [`StudyError::NoSuchPart`] if the number is not below the number of parts.
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
    /// The units that are known, in their order, each with its result.
    pub results: Vec<(U, R)>,
    /// Which units these are.
    pub completeness: Completeness,
}

impl<'a> Run<'a> {
    /// Runs the whole study without a journal. `progress` is called before and after every unit, and during long ones.
    pub fn in_memory(progress: &'a mut dyn FnMut(Progress<'_>)) -> Self {
        Run { journal: None, others: Vec::new(), part: Part::WHOLE, progress }
    }

    /// Runs the whole study without a journal and without reports of progress.
    pub fn silent() -> Run<'static> {
        // A function has no size, so the box allocates nothing.
        Run::in_memory(Box::leak(Box::new(silent)))
    }

    /// Records finished units in the file `journal`, and takes up those that it holds.
    pub fn with_journal(self, journal: impl Into<PathBuf>) -> Self {
        Run { journal: Some(journal.into()), ..self }
    }

    /// Takes over the units in the journals of other parts of the study.
    pub fn with_other_journals(self, others: Vec<PathBuf>) -> Self {
        Run { others, ..self }
    }

    /// Does only one part of the study.
    pub fn with_part(self, part: Part) -> Self {
        Run { part, ..self }
    }

    /// Computes the units of this part that no journal holds. Returns the results of all units that are known.
    ///
    /// Every study of this crate does its work here, and so can a study of another crate. `about` must hold everything that the
    /// results depend on. `compute` may report the finished share of its unit.
    ///
    /// # Errors
    ///
    /// Those of the journal and of `compute`. Finished units stay recorded.
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
