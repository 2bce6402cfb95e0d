//! The readers of lenses, of shares of them, and of calibrations.

#[path = "tiny.rs"]
mod tiny;

use std::{collections::BTreeMap, fs, sync::OnceLock};

use burn::tensor::Device;
use inject_sipit::{
    Calibration, Inverter, Lens, Settings,
    lens::{FirstPosition, LensBuilder, LensShare},
    models::{FloatFormat, Model, NumberFormat, Origin, Tap, silent},
    states::{Share, durable::Checksum},
};
use safetensors::{Dtype, SafeTensors};
use serde_json::{Value, json};

/// The readers, each with the name of its target and of its folder of seeds.
pub const READERS: &[(&str, fn(&[u8]))] =
    &[("calibration", calibration), ("lens", lens), ("lens_share", lens_share)];

const TAP: Tap = Tap::Block(1);
const HASH: &str = "of these very weights";
const FORMAT: NumberFormat = NumberFormat::Float(FloatFormat::Bf16);
const D_MODEL: usize = 8;

/// The file of a lens. Its checksums are not compared, because they would stop nearly every change.
pub fn lens(bytes: &[u8]) {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(Lens::file_name(TAP)), bytes).unwrap();
    let device = DEVICE.get_or_init(Device::flex);
    if let Ok(lens) = Lens::load_unverified(folder.path(), TAP, HASH, device) {
        assert_eq!(lens.info().tap, TAP);
        lens.save(folder.path()).unwrap();
        Lens::load(folder.path(), TAP, HASH, device).unwrap();
    }
}

/// The file of a calibration, with right checksums.
pub fn calibration(bytes: &[u8]) {
    let folder = tempfile::tempdir().unwrap();
    let bytes = with_checksums(bytes).unwrap_or_else(|| bytes.to_vec());
    fs::write(folder.path().join(Calibration::file_name(TAP, FORMAT)), bytes).unwrap();
    let load = || Calibration::load(folder.path(), TAP, FORMAT, HASH, D_MODEL);
    if let Ok(calibration) = load() {
        let calibration = calibration.expect("the file is there");
        assert_eq!((calibration.tap(), calibration.format()), (TAP, FORMAT));
        let _ = calibration.relative();
        calibration.save(folder.path(), HASH).unwrap();
        load().unwrap();
    }
}

/// The file of a share of a lens, with right checksums, and lenses of it and the share that was left.
pub fn lens_share(bytes: &[u8]) {
    static MADE: OnceLock<(Model, LensShare)> = OnceLock::new();
    let (model, other) = MADE.get_or_init(|| {
        let (_folder, model) = tiny::model();
        let other = share_of(&model, 1);
        (model, other)
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("share.safetensors");
    fs::write(&path, with_checksums(bytes).unwrap_or_else(|| bytes.to_vec())).unwrap();
    if let Ok(share) = LensShare::load(&path) {
        let _ = builder().build_from(&[share, other.clone()], &model.decoder, HASH, &mut silent);
    }
}

/// The same file of tensors with the checksums of its content, as this crate writes them. A wrong one would stop nearly every change.
fn with_checksums(bytes: &[u8]) -> Option<Vec<u8>> {
    const HEADER: &str = "xxh3:header";
    let (length, header) = SafeTensors::read_metadata(bytes).ok()?;
    let tensors = SafeTensors::deserialize(bytes).ok()?;
    let mut texts: BTreeMap<String, String> = header.metadata().clone()?.into_iter().collect();
    texts.remove(HEADER);
    let mut shapes: BTreeMap<&str, (Dtype, Vec<usize>)> = BTreeMap::new();
    for (name, view) in tensors.iter() {
        texts.insert(format!("xxh3:{name}"), Checksum::of(view.data()).to_string());
        shapes.insert(name, (view.dtype(), view.shape().to_vec()));
    }
    let sum = Checksum::of(&serde_json::to_vec(&(&texts, shapes)).unwrap()).to_string();
    texts.insert(HEADER.to_owned(), sum);
    let (header, data) = bytes[8..].split_at(length);
    let mut header: Value = serde_json::from_slice(header).ok()?;
    header["__metadata__"] = json!(texts);
    let header = header.to_string().into_bytes();
    Some([&(header.len() as u64).to_le_bytes(), header.as_slice(), data].concat())
}

fn builder() -> LensBuilder {
    let text = (0..24).map(|prompt| (0..12).map(|at| (prompt * 31 + at * 17 + 2) % 97).collect());
    LensBuilder::new(vec![TAP], vec![vec![5, 6, 7]], text.collect(), FirstPosition::Any)
}

fn share_of(model: &Model, number: usize) -> LensShare {
    let share = Share::new(number, 2).unwrap();
    builder().build_share(share, &model.decoder, HASH, &mut silent).unwrap()
}

/// The file of a lens of a small model.
pub fn made_lens() -> Vec<u8> {
    let (_folder, model) = tiny::model();
    let lenses = builder().build(&model.decoder, HASH, &mut silent).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::read(lenses[0].save(folder.path()).unwrap()).unwrap()
}

/// The file of the first share of that lens.
pub fn made_share() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let (_files, model) = tiny::model();
    fs::read(share_of(&model, 0).save(folder.path()).unwrap()).unwrap()
}

/// The file of a calibration of the same model.
pub fn made_calibration() -> Vec<u8> {
    let ((_files, model), folder) = (tiny::model(), tempfile::tempdir().unwrap());
    let inverter = Inverter::new(&model.decoder, TAP, Settings::default()).unwrap();
    let made = inverter.calibration(FORMAT, &mut silent).unwrap().unwrap();
    fs::read(made.save(folder.path(), HASH).unwrap()).unwrap()
}
