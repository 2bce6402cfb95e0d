//! Recovers a prompt from a file of states that another program could have written.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;

use burn::tensor::Device;
use inject_sipit::{
    TargetStates,
    models::{Bos, Model, Origin, Precision, Tap, silent},
    recover,
    states::{Extraction, foreign::write_npy, store::Positions},
};

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let folder = inject_examples::model_folder();
    let model = Model::load(Origin::of_folder(folder), Precision::default(), &Device::flex())?;
    let tap = Tap::Block(2);
    let path = std::env::temp_dir().join(format!("inject-example-{}.npy", std::process::id()));

    // This example writes the file itself. docs/guide/3-your-own-states.md writes one in Python.
    let prompt = model.tokenizer()?.encode("def count(numbers):", Bos::Auto)?;
    let states = Extraction::new(vec![tap], Positions::All)?.run(&model.decoder, &[prompt], &mut silent)?;
    write_npy(&path, states[&tap].view())?;

    // An .npy file does not say which tap it holds.
    let target = TargetStates::open(&path, Some(tap))?;
    let inversion = recover(&model, &target, &mut silent)?;
    std::fs::remove_file(&path)?;
    println!("{}", inversion.text(model.tokenizer()?)?.text);
    assert!(inversion.is_verified());
    Ok(())
}
