//! The model, and the device it computes on.

use std::{
    cell::OnceCell,
    fmt,
    num::NonZeroUsize,
    ops::Deref,
    path::{Path, PathBuf},
    str::FromStr,
};

use burn::tensor::Device;
use clap::Args;
use inject_sipit::models::{
    Decoder, FloatFormat, Hold, Model, ModelError, ModelFiles, ModelSource, Origin, Precision, SourceError,
    checkpoint::KnownHashes,
};

use super::{cache, room};
use crate::{
    bundled::Bundled,
    device::DeviceKind,
    interrupt,
    outcome::{Failure, one_line},
    output::note,
};
#[cfg(feature = "hub")]
use crate::{fetch::fetched, outcome::chain};
#[cfg(feature = "hub")]
use inject_sipit::models::hub::HubOptions;

/// The device that a command computes on.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Model")]
pub(crate) struct DeviceOptions {
    /// The device to compute on: flex, ndarray, cuda or wgpu, as far as this build has it
    #[arg(long, value_name = "DEVICE", default_value_t = DeviceKind::first())]
    pub(crate) device: DeviceKind,
}

/// The model, and the device.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Model")]
pub(crate) struct ModelOptions {
    /// A checkpoint folder, a GGUF file, or a Hub id owner/name[@revision] [default: the small model in the program]
    #[arg(long, value_name = "MODEL")]
    pub(crate) model: Option<String>,
    /// A folder with a LoRA adapter of PEFT, to be merged into the model
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: Option<PathBuf>,
    /// A tokenizer in place of the model's own: a folder, a file or a Hub id
    #[arg(long, value_name = "PLACE")]
    pub(crate) tokenizer: Option<String>,
    /// The format in which weights are held: stored or f32 [default: stored, but f32 for quantised weights and on a GPU, if that fits]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) hold: Option<HoldKind>,
    #[command(flatten)]
    pub(crate) device: DeviceOptions,
}

/// The place and format of the weights, as the option `--hold` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HoldKind {
    /// In the format of the checkpoint: on a CPU in its files, on a GPU in the GPU's memory.
    Stored,
    /// Widened to f32 when the model is loaded.
    F32,
}

impl fmt::Display for HoldKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            HoldKind::Stored => "stored",
            HoldKind::F32 => "f32",
        })
    }
}

impl FromStr for HoldKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = [HoldKind::Stored, HoldKind::F32];
        let found = known.into_iter().find(|kind| kind.to_string() == text);
        found.ok_or_else(|| "expected `stored` or `f32`".to_owned())
    }
}

/// A loaded model, with facts that the program needs more than once.
pub(crate) struct LoadedModel {
    model: Model,
    weight_hash: OnceCell<String>,
}

impl Deref for LoadedModel {
    type Target = Model;

    fn deref(&self) -> &Model {
        &self.model
    }
}

impl DeviceOptions {
    /// Opens the device that the user chose.
    pub(crate) fn open(self) -> Result<Device, Failure> {
        Ok(self.device.open()?)
    }

    /// Loads the small model in the program.
    pub(crate) fn load_bundled(self) -> Result<LoadedModel, Failure> {
        ModelOptions { model: None, adapter: None, tokenizer: None, hold: Some(HoldKind::F32), device: self }
            .load()
    }

    /// Returns the place and format of the weights on this device.
    fn hold(self, kind: HoldKind) -> Hold {
        match (kind, self.computes_in_main_memory()) {
            (HoldKind::F32, _) => Hold::Computed,
            (HoldKind::Stored, true) => Hold::Stored,
            (HoldKind::Stored, false) => Hold::StoredOnDevice,
        }
    }

    /// Whether tensors are in the memory of the machine, rather than of a GPU.
    fn computes_in_main_memory(self) -> bool {
        match self.device {
            DeviceKind::Flex | DeviceKind::NdArray => true,
            DeviceKind::Cuda | DeviceKind::Wgpu => false,
        }
    }

    /// On a CPU as many lanes as cores, on a GPU one.
    pub(crate) fn lanes(self) -> NonZeroUsize {
        match self.device {
            DeviceKind::Flex | DeviceKind::NdArray => {
                std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
            }
            DeviceKind::Cuda | DeviceKind::Wgpu => NonZeroUsize::MIN,
        }
    }
}

impl ModelOptions {
    /// Loads the model onto the device, and downloads it first if it is named by a Hub id and not in the cache.
    ///
    /// # Errors
    ///
    /// [`Failure`] if the device or the model cannot be had.
    pub(crate) fn load(&self) -> Result<LoadedModel, Failure> {
        let device = self.device.open()?;
        let (origin, bundled) = match &self.model {
            Some(name) => (resolve(name)?, None),
            None => {
                let bundled = Bundled::unpack()?;
                (bundled.origin(), Some(bundled))
            }
        };
        let origin = match &self.adapter {
            Some(folder) => origin.with_adapter(folder),
            None => origin,
        };
        let origin = match &self.tokenizer {
            Some(place) => origin.with_tokenizer(&resolve_tokenizer(place)?),
            None => origin,
        };
        let files = ModelFiles::open(origin)?;
        let hold = match (&bundled, self.hold) {
            // Its files are there only for as long as it is loaded.
            (Some(_), _) => Hold::Computed,
            (None, Some(kind)) => self.device.hold(kind),
            (None, None) => match (self.device.computes_in_main_memory(), room::is_ample(&files, &device)) {
                (true, true) => Hold::Fastest,
                (true, false) => Hold::Stored,
                (false, true) => Hold::Computed,
                (false, false) => Hold::StoredOnDevice,
            },
        };
        let precision = Precision::new(hold, FloatFormat::F32);
        if self.device.computes_in_main_memory() {
            room::check(&files, precision, &device)?;
        }
        let mut model = files.load(precision, &device)?;
        tell(&model);
        let decoder = room::within_memory(model.decoder).with_lanes(self.device.lanes());
        model.decoder = decoder.with_check(interrupt::check);
        let weight_hash = match bundled {
            // Nothing is read from its files after this, so they are removed at once, however the program ends.
            Some(_files) => OnceCell::from(model.weight_hash()?),
            None => OnceCell::new(),
        };
        Ok(LoadedModel { model, weight_hash })
    }
}

impl LoadedModel {
    /// The hash of the weights. The files are read once, and large ones not again by later commands.
    pub(crate) fn weight_hash(&self) -> Result<&str, Failure> {
        if self.weight_hash.get().is_none() {
            let hash = match cache::folder() {
                Some(folder) => {
                    self.model.weight_hash_known(&KnownHashes::in_file(folder.join("hashes.json")))?
                }
                None => self.model.weight_hash()?,
            };
            return Ok(self.weight_hash.get_or_init(|| hash));
        }
        Ok(self.weight_hash.get().map_or("", String::as_str))
    }

    /// Returns the name of the model as reports have it.
    pub(crate) fn id(&self) -> &str {
        &self.model.origin().id
    }

    /// The most tokens to keep of a prompt: `wanted`, or fewer if the model has no positions for these and `room` more.
    pub(crate) fn longest(&self, wanted: NonZeroUsize, room: usize) -> NonZeroUsize {
        let max_len = self.model.decoder.config().max_len();
        let fits = max_len.and_then(|max_len| NonZeroUsize::new(max_len.saturating_sub(room)));
        fits.map_or(wanted, |fits| fits.min(wanted))
    }

    /// The same model with another decoder made from its own.
    pub(crate) fn map_decoder(
        mut self,
        change: impl FnOnce(Decoder) -> Result<Decoder, inject_sipit::models::ModelError>,
    ) -> Result<Self, Failure> {
        self.model.decoder = change(self.model.decoder)?;
        Ok(self)
    }
}

#[cfg(feature = "hub")]
fn resolve(name: &str) -> Result<Origin, Failure> {
    let source: ModelSource = name.parse()?;
    if let ModelSource::Folder(_) = source {
        return Ok(source.origin()?);
    }
    let options = HubOptions::from_env()?;
    fetched(move |progress| source.fetch(&options, progress)).map_err(not_a_folder(name))
}

/// Adds to an error of the Hub that there is no folder of this name, because the name may be a misspelt folder.
#[cfg(feature = "hub")]
fn not_a_folder(name: &str) -> impl FnOnce(ModelError) -> Failure {
    move |error| match error {
        ModelError::Hub(error) => {
            Failure::new(format!("there is no folder {name}, and on the Hub: {}", chain(&error)))
        }
        other => other.into(),
    }
}

#[cfg(not(feature = "hub"))]
fn resolve(name: &str) -> Result<Origin, Failure> {
    let source: ModelSource = name.parse()?;
    Ok(source.origin()?)
}

/// Tells the user the facts about the model that matter, on one line.
fn tell(model: &Model) {
    if !model.notes().is_empty() {
        let notes: Vec<String> = model.notes().iter().map(ToString::to_string).collect();
        note(&one_line(&format!("{}: {}", model.origin().id, notes.join("; "))));
    }
}

/// The folder or file of a tokenizer. One that does not exist is named with the other faults when the model is opened.
fn resolve_tokenizer(place: &str) -> Result<PathBuf, Failure> {
    let path = Path::new(place);
    match place.parse() {
        _ if path.exists() => Ok(Origin::of_folder(path).folder),
        Ok(source) => fetch_tokenizer(place, &source),
        Err(error @ ModelError::Source(SourceError::NotInFolder { .. })) => Err(error.into()),
        Err(_) => Ok(path.to_owned()),
    }
}

#[cfg(feature = "hub")]
fn fetch_tokenizer(name: &str, source: &ModelSource) -> Result<PathBuf, Failure> {
    let (options, source) = (HubOptions::from_env()?, source.clone());
    let origin =
        fetched(move |progress| source.fetch_tokenizer(&options, progress)).map_err(not_a_folder(name))?;
    if let Some(fact) = origin.note() {
        note(&one_line(&format!("{}: {fact}", origin.id)));
    }
    Ok(origin.folder)
}

#[cfg(not(feature = "hub"))]
fn fetch_tokenizer(_: &str, source: &ModelSource) -> Result<PathBuf, Failure> {
    Ok(source.origin()?.folder)
}
