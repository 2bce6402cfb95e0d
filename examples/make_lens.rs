//! Makes a lens for one tap, and recovers a prompt with it in little more than one forward pass.
#![allow(clippy::print_stdout, reason = "an example shows what it found")]

use std::{error::Error, sync::Arc};

use burn::tensor::Device;
use inject_prompts::Generator;
use inject_sipit::{
    Inverter, Policy, Settings, TargetStates,
    lens::{FirstPosition, LensBuilder},
    models::{Bos, Model, Origin, Precision, Tap, silent},
    sources::LensProposals,
};

pub(crate) fn main() -> Result<(), Box<dyn Error>> {
    let folder = inject_examples::model_folder();
    let model = Model::load(Origin::of_folder(folder), Precision::default(), &Device::flex())?;
    let (tokenizer, tap) = (model.tokenizer()?, Tap::Block(2));

    // Ordinary text, to which the lens is fitted, and beginnings of prompts, after which every token of the vocabulary is
    // computed.
    let encode = |text: String| tokenizer.encode(&text, Bos::Auto);
    let text = Generator::new(1).take(100).map(encode).collect::<Result<Vec<_>, _>>()?;
    let prefixes = text[..2].iter().map(|ids| ids[..8].to_vec()).collect();
    let builder = LensBuilder::new(vec![tap], prefixes, text, FirstPosition::Any);
    let lens = builder.build(&model.decoder, &model.weight_hash()?, &mut silent)?.remove(0);
    println!("right at {:.1} % of held-out positions", 100.0 * lens.info().held_out_top_1);

    let prompt = tokenizer.encode("Nora found a golden umbrella.", Bos::Auto)?;
    let target = TargetStates::of_prompt(&model.decoder, tap, &prompt)?;
    let inverter = Inverter::new(&model.decoder, tap, Settings::new())?;
    let policy = Policy::new().then(LensProposals::new(Arc::new(lens)));
    let inversion = inverter.invert(&target, &mut inverter.searcher(&policy), &mut silent)?;

    let passes = inversion.cost.forward_passes(prompt.len());
    println!("{} ({passes:.1} forward passes)", inversion.text(tokenizer)?.text);
    assert!(inversion.is_verified() && inversion.token_ids() == prompt);
    Ok(())
}
