//! Finds the two prompts of many whose last states are closest.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;

use burn::tensor::Device;
use inject_prompts::Generator;
use inject_sipit::{
    collisions::{Pairs, Search, SearchOptions, StateRows},
    models::{Bos, Model, Origin, Precision, Tap, silent},
    states::{Extraction, store::Positions},
};

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let (folder, device) = (inject_examples::model_folder(), Device::flex());
    let model = Model::load(Origin::of_folder(folder), Precision::default(), &device)?;
    let texts: Vec<String> = Generator::new(1).take(200).collect();
    let encode = |text: &String| model.tokenizer()?.encode(text, Bos::Auto);
    let prompts = texts.iter().map(encode).collect::<Result<Vec<_>, _>>()?;

    let tap = Tap::FinalNorm;
    let states = Extraction::new(vec![tap], Positions::Last)?.run(&model.decoder, &prompts, &mut silent)?;
    let rows = StateRows::new(states[&tap].view())?;
    let search = Search::new(&rows, &Pairs::All, SearchOptions::default(), &device)?;
    let closest = search.closest_pairs(1, &mut silent)?;

    let pair = closest.pairs[0];
    println!("distance {:.3}, computed in f64 from the two states", pair.distance);
    println!("{:?}\n{:?}", texts[pair.a], texts[pair.b]);
    assert!(pair.distance > 0.0);
    Ok(())
}
