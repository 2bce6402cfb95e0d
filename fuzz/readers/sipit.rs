//! The reader of lenses.

use std::{fs, sync::OnceLock};

use burn::tensor::Device;
use inject_sipit::{
    Lens,
    lens::{FirstPosition, LensBuilder},
    models::{FloatFormat, Model, Origin, Tap, silent},
};

/// The readers, each with the name of its target and of its folder of seeds.
pub const READERS: &[(&str, fn(&[u8]))] = &[("lens", lens)];

const TAP: Tap = Tap::Block(1);
const HASH: &str = "of these very weights";

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

/// A lens of a small model, as a file.
pub fn made() -> Vec<u8> {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../inject-states/tests/fixtures/tiny");
    let model = Model::load(Origin::of_folder(model.as_ref()), FloatFormat::F32, &Device::flex()).unwrap();
    let text = (0..24).map(|prompt| (0..12).map(|at| (prompt * 31 + at * 17 + 2) % 97).collect());
    let builder = LensBuilder::new(vec![TAP], vec![vec![5, 6, 7]], text.collect(), FirstPosition::Any);
    let lenses = builder.build(&model.decoder, HASH, &mut silent).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::read(lenses[0].save(folder.path()).unwrap()).unwrap()
}
