//! The tensors of an adapter's file, by their names.

use super::Module;

/// The part of a tensor's name before the path of its module.
const ROOT: &str = "base_model.model.";

/// A tensor of an adapter's file.
///
/// PEFT takes the adapter's own name out of the names of tensors when it saves them. It is still there in those of the model's
/// `state_dict`, which has the tensors of the model itself too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'n> {
    /// The first or the second factor of the change to a module.
    Factor { path: &'n str, module: Module, factor: usize, adapter: Option<&'n str> },
    /// The matrix that takes the place of that of a module.
    Saved { path: &'n str, adapter: &'n str },
    /// The matrix whose place another one takes.
    Original,
    /// A tensor of the model, of a module with factors or of one without them.
    OfModel { path: &'n str, kind: &'n str, wrapped: bool },
}

impl<'n> Part<'n> {
    /// Returns the meaning of a name. `None` if it has none.
    pub(super) fn of(name: &'n str) -> Option<Self> {
        let name = name.strip_prefix(ROOT)?;
        let (stem, end) = name.rsplit_once('.')?;
        for module in [Module::Linear, Module::Embedding] {
            // The factors of an embedding are parameters, those of a linear map are modules with a weight.
            let stem = match module {
                Module::Embedding => name,
                Module::Linear if end == "weight" => stem,
                Module::Linear => continue,
            };
            for (factor, step) in module.factors().into_iter().enumerate() {
                if let Some((path, adapter)) = split(stem, step) {
                    return Some(Part::Factor { path, module, factor, adapter });
                }
            }
        }
        if !matches!(end, "weight" | "bias") {
            return None;
        }
        if let Some((path, Some(adapter))) = split(stem, "modules_to_save") {
            return Some(Part::Saved { path, adapter });
        }
        if stem.ends_with(".original_module") {
            return Some(Part::Original);
        }
        let within = stem.strip_suffix(".base_layer");
        Some(Part::OfModel { path: within.unwrap_or(stem), kind: end, wrapped: within.is_some() })
    }
}

/// Divides `PATH.step` or `PATH.step.ADAPTER`.
fn split<'n>(name: &'n str, step: &str) -> Option<(&'n str, Option<&'n str>)> {
    let before = |name: &'n str| name.strip_suffix(step)?.strip_suffix('.');
    if let Some(path) = before(name) {
        return Some((path, None));
    }
    let (name, adapter) = name.rsplit_once('.')?;
    Some((before(name)?, Some(adapter)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_adapter_may_be_in_the_names_of_its_tensors() {
        let of = |name: &'static str| Part::of(name);
        let path = "model.layers.0.q_proj";
        let factor = |module, factor, adapter| Some(Part::Factor { path, module, factor, adapter });
        assert_eq!(
            of("base_model.model.model.layers.0.q_proj.lora_A.weight"),
            factor(Module::Linear, 0, None)
        );
        assert_eq!(
            of("base_model.model.model.layers.0.q_proj.lora_B.default.weight"),
            factor(Module::Linear, 1, Some("default"))
        );
        assert_eq!(
            of("base_model.model.model.layers.0.q_proj.lora_embedding_B"),
            factor(Module::Embedding, 1, None)
        );
        assert_eq!(
            of("base_model.model.model.layers.0.q_proj.lora_embedding_A.mine"),
            factor(Module::Embedding, 0, Some("mine"))
        );
        assert_eq!(
            of("base_model.model.lm_head.modules_to_save.default.weight"),
            Some(Part::Saved { path: "lm_head", adapter: "default" })
        );
        assert_eq!(of("base_model.model.lm_head.original_module.weight"), Some(Part::Original));
        let of_model = |kind, wrapped| Some(Part::OfModel { path, kind, wrapped });
        assert_eq!(of("base_model.model.model.layers.0.q_proj.base_layer.bias"), of_model("bias", true));
        assert_eq!(of("base_model.model.model.layers.0.q_proj.weight"), of_model("weight", false));
        for other in ["model.layers.0.q_proj.lora_A.weight", "base_model.model.q_proj.lora_magnitude_vector"]
        {
            assert_eq!(of(other), None);
        }
    }
}
