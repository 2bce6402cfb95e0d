//! The promises of the repository about the small model in it.

use std::{fs, path::Path};

use inject_prompts::Generator;
use inject_sipit::{
    burn::tensor::Device,
    models::{Bos, Family, FloatFormat, Logits, Model, Origin, TokenBatch},
};

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/model"))
}

pub(crate) fn load(device: &Device) -> Model {
    Model::load(Origin::of_folder(folder()), FloatFormat::F32, device).unwrap()
}

#[test]
fn the_folder_is_an_ordinary_checkpoint_of_at_most_3_megabytes() {
    let files = fs::read_dir(folder()).unwrap().map(Result::unwrap);
    let sizes = files.map(|file| file.metadata().unwrap().len());
    assert!(sizes.sum::<u64>() <= 3_000_000);
    let model = load(&inject_testing::any_device());
    assert_eq!(model.family(), Family::Gpt2);
    assert_eq!(model.decoder.config().vocab_size, model.tokenizer().unwrap().vocab_size());
}

#[test]
fn every_text_encodes_and_decodes_to_itself() {
    let model = load(&inject_testing::any_device());
    let tokenizer = model.tokenizer().unwrap();
    let every_character: String = ('\0'..='\u{3000}').chain('\u{1f300}'..='\u{1f6ff}').collect();
    let generated = Generator::new(11).take(200);
    let texts = ["", " ", "  two\t\r\n", "na\u{ef}ve \u{2603}", "e\u{301}"].map(str::to_owned);
    for text in generated.chain(texts).chain([every_character]) {
        let ids = tokenizer.encode(&text, Bos::Auto).unwrap();
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
        assert!(!tokenizer.begins_with_bos(&ids), "no post-processor adds a token");
    }
}

#[test]
fn it_has_learned_what_the_generator_writes() {
    for device in inject_testing::compiled() {
        let model = load(&device);
        let tokenizer = model.tokenizer().unwrap();
        let mut generator = Generator::new(12);
        let (mut sum, mut count) = (0.0, 0);
        for _ in 0..20 {
            let mut ids = tokenizer.encode(&generator.document().1, Bos::Yes).unwrap();
            ids.truncate(model.decoder.config().max_len().unwrap());
            let batch = TokenBatch::new(&[&ids]).unwrap();
            let logits = model.decoder.forward(&batch, &[], Logits::All).unwrap().logits.unwrap();
            let rows = logits.into_data().try_to_vec::<f32>().unwrap();
            let vocab_size = model.decoder.config().vocab_size;
            for (row, &next) in rows.chunks(vocab_size).zip(&ids[1..]) {
                let total: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
                sum += total.ln() - f64::from(row[next as usize]);
                count += 1;
            }
        }
        // A model that knows nothing loses ln 2048 = 7.6 nats a token.
        let loss = sum / f64::from(count);
        assert!(loss < 1.6, "{loss} nats a token on {device:?}");
    }
}
