//! Computes the states of a sentence, and recovers the sentence from the states alone.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::error::Error;

use burn::tensor::Device;
use inject_sipit::{
    TargetStates,
    models::{Bos, Model, Origin, Precision, Tap, silent},
    recover,
};

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let folder = inject_examples::model_folder();
    let model = Model::load(Origin::of_folder(folder), Precision::default(), &Device::flex())?;
    let tokenizer = model.tokenizer()?;
    let prompt = tokenizer.encode("Ivan and his aunt Dora were in the garden.", Bos::Auto)?;

    let target = TargetStates::of_prompt(&model.decoder, Tap::Block(3), &prompt)?;
    let inversion = recover(&model, &target, &mut silent)?;

    for position in &inversion.positions {
        let token = position.token_id().and_then(|id| tokenizer.token(id));
        println!("{:>2}  {:<10} {:?}", position.position, token.unwrap_or_default(), position.verdict);
    }
    println!("{}", inversion.text(tokenizer)?.text);
    assert!(inversion.is_verified() && inversion.token_ids() == prompt);
    Ok(())
}
