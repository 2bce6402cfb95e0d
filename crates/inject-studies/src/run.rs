//! The execution of a study.

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use inject_sipit::{
    models::{Progress, Unit, silent},
    states::Share,
};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    completeness::Completeness,
    error::StudyError,
    journal::{Description, Journal},
};

/// The execution of a study: the journal that records it, the share that is done, and the receiver of progress.
///
/// It has no influence on the results: all shares together give the result of one run.
pub struct Run<'a> {
    journal: Option<PathBuf>,
    others: Vec<PathBuf>,
    share: Share,
    progress: &'a mut dyn FnMut(Progress<'_>),
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
        Run { journal: None, others: Vec::new(), share: Share::WHOLE, progress }
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

    /// Takes over the units in the journals of other shares of the study. They are recorded in the order of the study, whatever the
    /// order of the journals.
    pub fn with_other_journals(self, others: Vec<PathBuf>) -> Self {
        Run { others, ..self }
    }

    /// Does only one share of the study. The second of three shares has the second of every three units.
    pub fn with_share(self, share: Share) -> Self {
        Run { share, ..self }
    }

    /// Computes the units of this share that no journal holds. Returns the results of all units that are known.
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
        let (mut journal, taken): (Journal<U, R>, Journal<U, R>) = self.open(about)?;
        let mut mine = self.share.every(units.len()).peekable();
        let total = self.share.every(units.len()).count();
        let told =
            |done: usize| Progress::new(about.study().as_str(), Unit::Units, done as u64, total as u64);
        let mut done = 0;
        for (number, unit) in units.iter().enumerate() {
            let is_mine = mine.next_if_eq(&number).is_some();
            if is_mine {
                (self.progress)(told(done));
            }
            if journal.result(unit).is_none() {
                if let Some(result) = taken.result(unit) {
                    journal.push(unit.clone(), result.clone())?;
                } else if is_mine {
                    let result = compute(unit, &mut |part| (self.progress)(told(done).with_part(part)))?;
                    journal.push(unit.clone(), result)?;
                }
            }
            done += usize::from(is_mine);
        }
        (self.progress)(told(total));
        Ok(known(&journal, units))
    }

    /// As [`Run::complete`], with a function that computes many units at once: an engine that distributes them, for example. It is
    /// called once, with the units of this share that no journal has, unless there are none. It returns the result of each in the
    /// same order. They are recorded when it returns.
    ///
    /// # Errors
    ///
    /// The errors of the journal and of `compute`.
    ///
    /// # Panics
    ///
    /// Panics if `compute` returns another number of results than it was given units.
    pub fn complete_together<U, R, E>(
        self,
        about: &Description,
        units: Vec<U>,
        compute: impl FnOnce(&[U]) -> Result<Vec<R>, E>,
    ) -> Result<Finished<U, R>, E>
    where
        U: Serialize + DeserializeOwned + PartialEq + Clone,
        R: Serialize + DeserializeOwned + Clone,
        E: From<StudyError>,
    {
        let (mut journal, taken): (Journal<U, R>, Journal<U, R>) = self.open(about)?;
        let mut mine: Vec<U> = self.share.every(units.len()).map(|number| units[number].clone()).collect();
        let total = mine.len() as u64;
        let told = |done: u64| Progress::new(about.study().as_str(), Unit::Units, done, total);
        mine.retain(|unit| journal.result(unit).is_none() && taken.result(unit).is_none());
        (self.progress)(told(total - mine.len() as u64));
        let results = if mine.is_empty() { Vec::new() } else { compute(&mine)? };
        assert_eq!(results.len(), mine.len(), "one result for each unit");
        let mut computed = mine.into_iter().zip(results).peekable();
        for unit in &units {
            if let Some((unit, result)) = computed.next_if(|(computed, _)| computed == unit) {
                journal.push(unit, result)?;
            } else if let (None, Some(result)) = (journal.result(unit), taken.result(unit)) {
                journal.push(unit.clone(), result.clone())?;
            }
        }
        (self.progress)(told(total));
        Ok(known(&journal, units))
    }

    /// Reads the journals of others, and opens the journal of this run. Nothing is written if one of them is refused.
    fn open<U, R>(&self, about: &Description) -> Result<(Journal<U, R>, Journal<U, R>), StudyError>
    where
        U: Serialize + DeserializeOwned + PartialEq,
        R: Serialize + DeserializeOwned,
    {
        let begun = self.journal.iter().filter(|path| path.exists()).chain(&self.others).next();
        let about = &begun.map_or_else(|| about.clone(), |path| about.as_recorded_in(path));
        let mut taken = Journal::in_memory(about);
        self.others.iter().try_for_each(|path| taken.absorb(path))?;
        let journal = match &self.journal {
            None => Journal::in_memory(about),
            Some(path) => Journal::open(path, about)?,
        };
        Ok((journal, taken))
    }
}

/// The results of the units that a journal has, and the names of those that it lacks.
fn known<U, R>(journal: &Journal<U, R>, units: Vec<U>) -> Finished<U, R>
where
    U: Serialize + DeserializeOwned + PartialEq + Clone,
    R: Serialize + DeserializeOwned + Clone,
{
    let missing: Vec<U> = units.iter().filter(|unit| journal.result(unit).is_none()).cloned().collect();
    let completeness = Completeness::of(units.len(), missing);
    let known = units.into_iter().filter_map(|unit| {
        let result = journal.result(&unit)?.clone();
        Some((unit, result))
    });
    Finished { results: known.collect(), completeness }
}
