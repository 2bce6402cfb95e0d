//! Weight files from a decoder.

use std::path::Path;

use burn::tensor::{DType, Device};

use super::{Decoder, block::Block, by_head, linear::Linear, norm::Norm};
use crate::{
    checkpoint::WeightWriter,
    error::ModelError,
    families::{Family, Names, Projection, Stored},
    format::FloatFormat,
};

impl Decoder {
    /// Writes every parameter to one safetensors file, under the names and in the layout that Hugging Face transformers
    /// has for the family. Together with a `config.json`, which the caller writes, the file is a checkpoint.
    ///
    /// The values are rounded to `format`. F32 changes no bit of a model loaded in F32.
    ///
    /// # Errors
    ///
    /// Fails with [`ModelError::Write`] if the file cannot be written, with [`ModelError::NotFinite`] for a parameter that is
    /// not finite in `format`, and with [`ModelError::UnsupportedFormat`] for F64, which no checkpoint is stored in.
    ///
    /// # Panics
    ///
    /// Panics if the decoder visibly belongs to another family, for example if it has a norm that the family does not
    /// have.
    pub fn save_weights(&self, family: Family, format: FloatFormat, path: &Path) -> Result<(), ModelError> {
        if format == FloatFormat::F64 {
            return Err(ModelError::UnsupportedFormat {
                purpose: "saving weights",
                found: format.into(),
                expected: "f32, f16 or bf16",
            });
        }
        let mut file = WeightWriter::new(family.names(), format, path);
        let (device, dtype) = (self.device(), self.dtype());
        file.embedding(self.embedding.tensor(&device, dtype))?;
        if let Some(positions) = &self.positions {
            file.positions(positions.val())?;
        }
        for (i, block) in self.blocks.iter().enumerate() {
            save_block(&mut file, family.names(), i, block, &device, dtype)?;
        }
        each_vector(&self.final_norm, |part, values| file.final_norm(part, values))?;
        if let Some(head) = &self.head {
            file.head(head.tensor(&device, dtype))?;
        }
        file.finish()
    }
}

/// The place of one of a block's norms in the table of names.
type NormName = fn(&Names) -> &'static str;

fn save_block(
    file: &mut WeightWriter<'_>,
    names: &'static Names,
    i: usize,
    block: &Block,
    device: &Device,
    dtype: DType,
) -> Result<(), ModelError> {
    let Block {
        attention_norm,
        attention,
        post_attention_norm,
        feed_forward_norm,
        feed_forward,
        post_feed_forward_norm,
        residual: _,
    } = block;
    let norms: [(NormName, Option<&Norm>); 6] = [
        (|names| names.attention_norm, attention_norm.as_ref()),
        (|names| names.post_attention_norm, post_attention_norm.as_ref()),
        (|names| names.feed_forward_norm, feed_forward_norm.as_ref()),
        (|names| names.post_feed_forward_norm, post_feed_forward_norm.as_ref()),
        (|names| names.q_norm, attention.q_norm.as_ref()),
        (|names| names.k_norm, attention.k_norm.as_ref()),
    ];
    for (name, norm) in norms {
        if let Some(norm) = norm {
            each_vector(norm, |part, values| file.block_norm(i, name, part, values))?;
        }
    }
    let d_model = feed_forward.down.weight.dims()[1];
    let mut save = |projection: &Projection, linear: &Linear, widths: &[usize]| {
        file.matrix(i, projection, widths, linear.weight.tensor(device, dtype))?;
        match &linear.bias {
            None => Ok(()),
            Some(bias) => file.bias(i, projection, widths, bias.val()),
        }
    };
    let qkv = match names.qkv.stored {
        Stored::OutInByHead => &by_head::stored(attention.qkv.clone(), attention.config.n_heads),
        Stored::InOut | Stored::OutIn => &attention.qkv,
    };
    save(&names.qkv, qkv, &attention.config.qkv_widths())?;
    save(&names.out, &attention.out, &[d_model])?;
    save(&names.up, &feed_forward.up, &feed_forward.config.up_widths())?;
    save(&names.down, &feed_forward.down, &[d_model])
}

/// The weight of a norm, and its bias where it has one.
fn each_vector(
    norm: &Norm,
    mut save: impl FnMut(&str, burn::tensor::Tensor<1>) -> Result<(), ModelError>,
) -> Result<(), ModelError> {
    save("weight", norm.weight.val())?;
    match &norm.bias {
        None => Ok(()),
        Some(bias) => save("bias", bias.val()),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, fs, path::PathBuf};

    use burn::{
        module::{Module, ModuleVisitor, Param},
        tensor::{Device, Tensor},
    };

    use super::*;
    use crate::model::{Model, Origin};

    const CASES: [&str; 16] = [
        "gpt2",
        "gpt2-hub-names",
        "gpt-neo",
        "llama",
        "llama-bf16-shards",
        "mistral",
        "gemma3",
        "gemma3-multimodal",
        "phi4",
        "qwen2",
        "qwen3",
        "gemma2",
        "gpt-neox",
        "gpt-neox-sequential",
        "smollm3",
        "olmo2",
    ];

    fn fixture(case: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(case)
    }

    fn load(folder: &Path, device: &Device) -> Model {
        Model::load(Origin::of_folder(folder), FloatFormat::F32, device).unwrap()
    }

    /// Loads a fixture, saves it, and loads the result.
    fn through(case: &str, format: FloatFormat, device: &Device) -> (Model, Model) {
        let folder = tempfile::tempdir().unwrap();
        let model = load(&fixture(case), device);
        fs::copy(fixture(case).join("config.json"), folder.path().join("config.json")).unwrap();
        let path = folder.path().join("model.safetensors");
        model.decoder.save_weights(model.family(), format, &path).unwrap();
        let again = load(folder.path(), device);
        (model, again)
    }

    /// Shape and values of every parameter, in order.
    #[derive(Default)]
    struct Parameters(Vec<(Vec<usize>, Vec<f32>)>);

    impl ModuleVisitor for Parameters {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let values = param.val();
            self.0.push((values.dims().to_vec(), values.into_data().try_to_vec().unwrap()));
        }
    }

    fn parameters(model: &Model) -> Vec<(Vec<usize>, Vec<f32>)> {
        let mut visitor = Parameters::default();
        model.decoder.visit(&mut visitor);
        visitor.0
    }

    #[test]
    fn what_is_saved_in_f32_loads_as_the_same_bits_in_every_family() {
        for device in inject_testing::compiled() {
            let mut families = HashSet::new();
            for case in CASES {
                let (model, again) = through(case, FloatFormat::F32, &device);
                families.insert(model.family());
                assert_eq!(model.decoder.config(), again.decoder.config(), "{case}");
                let (expected, found) = (parameters(&model), parameters(&again));
                assert_eq!(expected.len(), found.len(), "{case}");
                for ((shape, expected), (found_shape, found)) in expected.iter().zip(&found) {
                    assert_eq!(shape, found_shape, "{case}");
                    let same = expected.iter().zip(found).all(|(a, b)| a.to_bits() == b.to_bits());
                    assert!(same && expected.len() == found.len(), "{case}: a parameter {shape:?} changed");
                }
            }
            assert!(Family::all().iter().all(|family| families.contains(family)), "{families:?}");
        }
    }

    #[test]
    fn narrow_formats_round_to_nearest() {
        for device in inject_testing::compiled() {
            // Half a unit in the last place; below 2^-14, half the smallest F16.
            for (format, relative, absolute) in [
                (FloatFormat::F16, 2_f32.powi(-11), 2_f32.powi(-25)),
                (FloatFormat::Bf16, 2_f32.powi(-8), 0.0),
            ] {
                let (model, again) = through("gpt2", format, &device);
                let pairs = parameters(&model).into_iter().zip(parameters(&again));
                for (a, b) in pairs.flat_map(|((_, a), (_, b))| a.into_iter().zip(b)) {
                    assert!((a - b).abs() <= a.abs() * relative + absolute, "{format}: {a} became {b}");
                }
            }
        }
    }

    #[test]
    fn a_weight_beyond_the_range_of_the_format_is_refused_by_name() {
        for device in inject_testing::compiled() {
            let mut model = load(&fixture("gpt2"), &device);
            model.decoder.final_norm.weight = model.decoder.final_norm.weight.map(|weight| weight * 1e6);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("model.safetensors");
            let error = model.decoder.save_weights(Family::Gpt2, FloatFormat::F16, &path).unwrap_err();
            assert!(
                matches!(&error, ModelError::NotFinite { tensor, .. } if tensor == "transformer.ln_f.weight"),
                "{error}"
            );
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_format_that_no_checkpoint_has_is_refused() {
        let decoder = load(&fixture("gpt2"), &inject_testing::any_device()).decoder;
        let path = Path::new("never written");
        let error = decoder.save_weights(Family::Gpt2, FloatFormat::F64, path).unwrap_err();
        assert!(matches!(error, ModelError::UnsupportedFormat { .. }), "{error}");
        assert!(!path.exists());
    }

    #[test]
    #[should_panic(expected = "not of this family")]
    fn a_decoder_of_another_family_is_refused() {
        // The names are compared on the host.
        let device = inject_testing::any_device();
        let model = load(&fixture("gpt2"), &device);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let _ = model.decoder.save_weights(Family::Llama, FloatFormat::F32, &path);
    }
}
