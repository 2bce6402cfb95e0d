//! Loads a model and reads the hidden states of a sentence after each block.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;

use burn::tensor::Device;
use inject_sipit::{
    collisions::norm,
    models::{Bos, Model, Origin, Precision, Tap, silent},
    states::{Extraction, store::Positions},
};

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let folder = inject_examples::model_folder();
    let model = Model::load(Origin::of_folder(folder), Precision::default(), &Device::flex())?;
    let prompt = model.tokenizer()?.encode("The fox was in the garden.", Bos::Auto)?;

    // One row for each token, at each of the taps.
    let taps = Tap::parse_list("all", model.decoder.config().n_layers())?;
    let extraction = Extraction::new(taps, Positions::All)?;
    let states = extraction.run(&model.decoder, &[prompt], &mut silent)?;

    for (tap, states) in &states {
        let last = states.row(states.nrows() - 1).to_vec();
        println!(
            "{tap}: {} states of width {}, the last of norm {:.2}",
            states.nrows(),
            states.ncols(),
            norm(&last)
        );
    }
    Ok(())
}
