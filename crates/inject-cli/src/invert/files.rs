//! Every prompt of a batch, or of a folder of files, into a file of results that an interrupted run continues.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Instant,
};

use inject_sipit::{
    Inversion, InvertError, Inverter, Searcher, TargetStates,
    models::{FloatFormat, Model, Tap},
    states::foreign::ColumnChoice,
};

use super::{
    Options, announce_scan, calibrations, folder,
    groups::GroupLimits,
    job::{GivenStates, Identity, Job, Reading},
    jsonl,
    likely_cause::{CauseKind, Describable, LikelyCause},
    record::Record,
    report::Recovered,
    share::ResultShare,
    single, tap,
    target::target_of,
};
use crate::{
    inverter,
    number::counted,
    options::LoadedModel,
    outcome::{Failure, Outcome},
    output::note,
    progress::Meter,
};

/// The place of a prompt: a file, and the prompt's number there.
struct Place<'a> {
    path: &'a Path,
    row: usize,
    /// Whether the file holds other prompts too.
    is_of_batch: bool,
    /// The number of states in the prompts before it.
    before: usize,
}

/// The prompts of all files, and the facts of the first that hold for every one.
struct Survey<'a> {
    places: Vec<Place<'a>>,
    /// The fingerprint of each file, by its name.
    fingerprints: BTreeMap<String, String>,
    first: First,
}

/// The first prompt: its column, tap and number format, and the number of its states.
struct First {
    column: ColumnChoice,
    tap: Tap,
    dtype: FloatFormat,
    rows: usize,
}

impl<'a> Survey<'a> {
    /// Opens each file once, and chooses the tap of the first one whose tap is known or found.
    fn of(options: &Options, model: &Model, files: &'a [PathBuf], within: &Path) -> Result<Self, Failure> {
        let mut places = Vec::new();
        let mut fingerprints = BTreeMap::new();
        let mut first = None;
        let mut refused = None;
        let mut before = 0;
        for path in files {
            let mut file = single::open(options, model, path)?;
            fingerprints.insert(folder::relative(path, within), file.fingerprint()?);
            for row in 0..file.prompts() {
                places.push(Place { path, row, is_of_batch: file.prompts() > 1, before });
                before += file.rows();
            }
            if first.is_none() {
                file.choose(0)?;
                match tap::choose(options, model, &mut file) {
                    Ok((column, tap)) => {
                        tap::tell(options, &file, tap);
                        first = Some(First { column, tap, dtype: file.dtype(), rows: file.rows() })
                    }
                    Err(failure) => refused = refused.or(Some(failure)),
                }
            }
        }
        let none = || refused.unwrap_or_else(|| Failure::new("there are no files of states"));
        let first = first.ok_or_else(none)?;
        Ok(Survey { places, fingerprints, first })
    }
}

/// Recovers all prompts of some files. `within` is the folder that holds them, or the only file.
pub(super) fn run(options: &Options, files: &[PathBuf], within: &Path) -> Result<Outcome, Failure> {
    let settings = options.policy.settings()?;
    let Some(out) = &options.out else {
        return Err(Failure::usage(format!(
            "{} of states to invert: give --out FILE for their prompts",
            counted(files.len(), "file")
        )));
    };
    if options.input.row.is_some() {
        return Err(Failure::usage("--row chooses one prompt, and --out is for all: give one of them"));
    }
    let model = options.model.load()?;
    let Survey { places, fingerprints, first } = Survey::of(options, &model, files, within)?;
    let First { column, tap, dtype, rows } = first;
    if let [_] = places[..] {
        return Err(Failure::usage(
            "--out is for the prompts of a store, a batch or a folder; a single prompt goes to standard output",
        ));
    }
    let share = options.share.map(|share| {
        let alone: Vec<_> = (0..places.len()).map(|place| place..place + 1).collect();
        ResultShare::of(share, &alone)
    });
    if share.as_ref().is_some_and(|share| share.tell_if_empty(places.len())) {
        return Ok(Outcome::Complete);
    }
    let own = share.as_ref().map_or(0..places.len(), ResultShare::range);
    let order = (!files.is_sorted()).then_some("numbers");
    let identity = identity(options, &model, fingerprints, order)?;
    let states = GivenStates { identity, prompts: places.len(), dtype, tap };
    let job = Job::new(options, &model, model.id(), states, share)?;
    let (mut output, mut tally) = jsonl::open(out, &job, own.clone(), "files")?;
    let choice = options.policy.choose(&model, tap, rows)?;
    let settings = tap::doubting(options, &model, settings);
    let inverter = inverter::prepared(&model.decoder, tap, settings)?;
    note(&format!("{} at {tap}, policy: {}; {}", counted(own.len(), "prompt"), choice.policy, choice.reason));
    announce_scan(&inverter, rows * own.len());
    calibrations::read(options, &model, &inverter)?;
    let limits = GroupLimits::of(&inverter, &options.policy);
    let mut taught = inverter.searcher(&choice.policy);
    let mut meter = Meter::new();
    for (prompt, place) in places.iter().enumerate().take(own.end) {
        let is_missing = (tally.next_prompt()..own.end).contains(&prompt);
        // The first prompts teach, whichever share they belong to. What they teach is needed only if prompts are missing after them.
        let teaches = taught.learns() && limits.teaches(place.before);
        let is_needed = teaches && tally.next_prompt() < own.end;
        if !(is_missing || is_needed) {
            continue;
        }
        let start = Instant::now();
        let mut copied = (!teaches).then(|| taught.copy(prompt));
        let searcher = copied.as_mut().unwrap_or(&mut taught);
        let read = read(options, &model, place, (column, tap), &inverter)?;
        let found = place.invert(read, &inverter, searcher, &mut meter)?;
        if let Found::Inverted { inversion, .. } = &found {
            tally.calibrated(inversion);
        }
        if !is_missing {
            continue;
        }
        let seconds = start.elapsed().as_secs_f64();
        let recovered = match found {
            Found::Inverted { inversion, ids, missing } => Recovered::new(
                &model,
                &inversion,
                ids.as_deref(),
                None,
            )?
            .with_likely_cause(inverter.settings(), tap, &Describable::Not, &missing),
            Found::LeftOut(LeftOut { positions, cause }) => {
                meter.suspend(|| note(&cause.text));
                Recovered::left_out(&model, positions, cause)
            }
        };
        let positions = recovered.positions.len();
        let record = Record::new(prompt, recovered)
            .of_file(folder::relative(place.path, within), place.row_of_batch());
        tally.take(&record).map_err(Failure::new)?;
        tally.took(seconds, positions);
        output.append(&record)?;
    }
    drop(meter);
    calibrations::write(options, &model, &inverter)?;
    tally.tell(options.json, out)
}

/// A prompt of a file.
enum Read {
    /// Its states at the tap of all, its tokens if the file has them, and the column if there are several.
    Prompt { target: Box<TargetStates>, ids: Option<Vec<u32>>, column: Option<usize> },
    /// It cannot be inverted with the others.
    LeftOut(LeftOut),
}

/// What was found of a prompt.
enum Found {
    /// Its inversion, its tokens if the file has them, and the positions without a row.
    Inverted {
        inversion: Inversion,
        ids: Option<Vec<u32>>,
        missing: Vec<usize>,
    },
    LeftOut(LeftOut),
}

/// A prompt that cannot be inverted with the others.
struct LeftOut {
    positions: usize,
    cause: LikelyCause,
}

impl Place<'_> {
    /// The number of the prompt in its file, if this holds several.
    fn row_of_batch(&self) -> Option<usize> {
        self.is_of_batch.then_some(self.row)
    }

    /// Recovers a prompt that was read here. One at another tap is left out.
    fn invert(
        &self,
        read: Read,
        inverter: &Inverter<'_>,
        searcher: &mut Searcher<'_>,
        meter: &mut Meter,
    ) -> Result<Found, Failure> {
        let (target, ids, column) = match read {
            Read::Prompt { target, ids, column } => (target, ids, column),
            Read::LeftOut(left_out) => return Ok(Found::LeftOut(left_out)),
        };
        let missing = target.missing().to_vec();
        match inverter.invert(&target, searcher, &mut |progress| meter.show(progress)) {
            Ok(inversion) => Ok(Found::Inverted { inversion, ids, missing }),
            Err(error @ InvertError::OtherTap { likely, .. }) => {
                let (positions, reason) = (target.positions(), error.to_string());
                Ok(Found::LeftOut(self.left_out_at(likely, column, positions, &reason)))
            }
            Err(error) => Err(self.failure(&Failure::from(error))),
        }
    }

    /// A prompt whose states are at another tap than those of the others.
    fn left_out_at(&self, tap: Tap, column: Option<usize>, positions: usize, reason: &str) -> LeftOut {
        let path = self.path.display();
        let row = self.row_of_batch().map_or_else(String::new, |row| format!(" --row {row}"));
        let column = column.map_or_else(String::new, |column| format!(" --column {column}"));
        let text = format!("{path}: {reason}; invert it alone with --states {path}{row}{column} --tap {tap}");
        LeftOut { positions, cause: LikelyCause { kind: CauseKind::TapOrWeights, text } }
    }

    /// A failure that names the file.
    fn failure(&self, failure: &Failure) -> Failure {
        let (path, text) = (self.path.display().to_string(), failure.to_string());
        Failure::new(if text.contains(&path) { text } else { format!("{path}: {text}") })
    }
}

/// Reads a prompt at the tap of all. A file that can be opened and not be used ends only its own recovery.
fn read(
    options: &Options,
    model: &Model,
    place: &Place<'_>,
    (column, tap): (ColumnChoice, Tap),
    inverter: &Inverter<'_>,
) -> Result<Read, Failure> {
    let mut file = single::open(options, model, place.path)?;
    file.choose(place.row)?;
    let positions = file.rows();
    // A change that is found in the first states holds for all.
    let chosen = match tap::is_unknown(options, &file) {
        true => Ok((column, tap)),
        false => tap::choose(options, model, &mut file),
    };
    let read = chosen.and_then(|chosen| {
        let column = tap::number_of(&file, chosen.0);
        let own = chosen.1;
        if own != tap {
            let reason = format!("holds {own}, and the other files {tap}");
            return Ok(Read::LeftOut(place.left_out_at(own, column, positions, &reason)));
        }
        let (target, ids) = target_of(options, model, &mut file, chosen, Some(inverter))?;
        Ok(Read::Prompt { target: Box::new(target), ids, column })
    });
    Ok(read.unwrap_or_else(|failure| {
        let text = place.failure(&failure).to_string();
        Read::LeftOut(LeftOut { positions, cause: LikelyCause { kind: CauseKind::Unusable, text } })
    }))
}

/// The files, and the options that decide which of their states are read.
fn identity<'a>(
    options: &'a Options,
    model: &LoadedModel,
    files: BTreeMap<String, String>,
    order: Option<&'static str>,
) -> Result<Identity<'a>, Failure> {
    let input = &options.input;
    let reading = Reading {
        column: input.column,
        tensor: input.tensor.as_deref(),
        axes: input.axes.map(|axes| axes.to_string()),
        prefix: input.given(model)?.map(|given| given.ids),
        template: input.templated(model)?.map(|template| template.ids),
        ignore_mask: input.ignore_mask,
        order,
    };
    Ok(Identity::Files { files, reading })
}
