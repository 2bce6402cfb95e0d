//! The model and device options that every program has.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use clap::Args;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use inject_sipit::models::{Model, ModelSource, Origin, Precision, Progress, hub::HubOptions};
use inject_testing::DeviceKind;

use crate::Failure;

/// Which model, and where it computes.
#[derive(Args, Clone, Debug)]
pub struct ModelArgs {
    /// A checkpoint folder, or a Hub id `owner/name[@revision]` [default: the small model that ships with the project]
    #[arg(long, value_name = "FOLDER_OR_HUB_ID")]
    pub model: Option<String>,
    /// Where to compute: flex, ndarray, cuda or wgpu, as far as compiled in
    #[arg(long, default_value_t = DeviceKind::Flex)]
    pub device: DeviceKind,
}

/// The folder of the small model that ships with the project.
pub fn bundled_model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("model")
}

impl ModelArgs {
    /// Loads the model onto the device, fetching it first if it is named by a Hub id.
    ///
    /// # Errors
    ///
    /// In words for the user.
    pub fn load(&self) -> Result<Model, Failure> {
        let device = self.device.open()?;
        let origin = self.origin()?;
        let mut model = Model::load(origin, Precision::F32, &device)?;
        model.decoder = model.decoder.with_lanes(self.lanes());
        Ok(model)
    }

    fn origin(&self) -> Result<Origin, Failure> {
        let Some(name) = &self.model else {
            return Ok(Origin { id: "bundled".to_owned(), revision: None, folder: bundled_model() });
        };
        let source: ModelSource = name.parse()?;
        let bars = MultiProgress::new();
        let mut known: HashMap<String, ProgressBar> = HashMap::new();
        let mut show = |progress: Progress<'_>| {
            let bar = known.entry(progress.task.to_owned()).or_insert_with(|| {
                let style = ProgressStyle::with_template("{msg} {bar:30} {bytes}/{total_bytes} {eta}");
                let bar = bars.add(ProgressBar::new(progress.total)).with_message(progress.task.to_owned());
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar
            });
            bar.set_position(progress.done);
            if progress.done == progress.total {
                bar.finish();
            }
        };
        Ok(source.fetch(&HubOptions::from_env()?, &mut show)?)
    }

    /// On a CPU as many lanes as cores, on a GPU one.
    fn lanes(&self) -> NonZeroUsize {
        match self.device {
            DeviceKind::Flex | DeviceKind::NdArray => {
                std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
            }
            DeviceKind::Cuda | DeviceKind::Wgpu => NonZeroUsize::MIN,
        }
    }
}
