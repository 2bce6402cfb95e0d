//! The names that wrappers of training add to the names of tensors.

use std::collections::{BTreeMap, BTreeSet};

/// Steps of a name that stand for a wrapper, wherever they are: `torch.compile`, FSDP and activation checkpointing.
const ANYWHERE: &[&str] = &["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];

/// Beginnings of a name that stand for a wrapper: data parallel training, PEFT, and dictionaries in a pickle.
const AT_THE_BEGINNING: &[&str] =
    &["module.", "net.", "base_model.model.", "pretrained_model.", "state_dict.", "model_state_dict."];

/// Beginnings of names of a model that is the field `model` of another one, or of a dictionary.
const MODEL_WITHIN: &[&str] = &[
    "model.model.",
    "model.transformer.",
    "model.gpt_neox.",
    "model.embed_in.",
    "model.final_layer_norm.",
    "model.lm_head.",
    "model.embed_out.",
    "model.module.",
    // GPT-NeoX and GPT-2 without their heads. The names of other models without a head begin with `model.` in any case.
    "model.wte.",
    "model.wpe.",
    "model.h.",
    "model.ln_f.",
];

/// Dictionaries of a checkpoint of training that hold the whole model.
const DICTIONARIES: &[&str] = &["state_dict.", "model_state_dict.", "module.", "net.", "model."];

/// The tensors of a model under their own names.
pub(super) struct Unwrapped<T> {
    pub(super) tensors: BTreeMap<String, T>,
    /// The wrappers that the names had.
    pub(super) wrappers: Vec<&'static str>,
    /// The contents beside the model, by the first steps of its names.
    pub(super) left_out: Vec<String>,
}

/// Takes the names of wrappers off the names of tensors.
///
/// Training keeps the model in a dictionary of a usual name, and the state of the optimiser and the like beside it. Where there is
/// such a dictionary, what stands beside it is left out. Nothing changes if two tensors would get the same name.
pub(super) fn unwrap<T>(tensors: BTreeMap<String, T>) -> Unwrapped<T> {
    let mut wrappers = Vec::new();
    let names: Vec<String> = tensors.keys().map(|name| own_name(name, &mut wrappers)).collect();
    let distinct: BTreeSet<&String> = names.iter().collect();
    if wrappers.is_empty() || distinct.len() < names.len() {
        return Unwrapped { tensors, wrappers: Vec::new(), left_out: Vec::new() };
    }
    let dictionary =
        DICTIONARIES.iter().find(|dictionary| tensors.keys().any(|name| is_in(dictionary, name)));
    let mut left_out = BTreeSet::new();
    let mut kept = BTreeMap::new();
    for (own, (name, tensor)) in names.into_iter().zip(tensors) {
        if dictionary.is_none_or(|dictionary| name.starts_with(dictionary)) {
            kept.insert(own, tensor);
        } else {
            left_out.insert(name.split('.').next().unwrap_or_default().to_owned());
        }
    }
    Unwrapped { tensors: kept, wrappers, left_out: left_out.into_iter().collect() }
}

/// Whether a name shows that a dictionary holds a model. Many models have a part of the name `model` themselves.
fn is_in(dictionary: &str, name: &str) -> bool {
    match dictionary {
        "model." => MODEL_WITHIN.iter().any(|beginning| name.starts_with(beginning)),
        _ => name.starts_with(dictionary),
    }
}

/// Returns a name without wrappers, and lists those that it had.
fn own_name(name: &str, wrappers: &mut Vec<&'static str>) -> String {
    let mut note = |wrapper: &'static str| {
        if !wrappers.contains(&wrapper) {
            wrappers.push(wrapper);
        }
    };
    let steps = name.split('.').filter(|step| match ANYWHERE.iter().find(|wrapper| *wrapper == step) {
        None => true,
        Some(wrapper) => {
            note(wrapper);
            false
        }
    });
    let mut name = steps.collect::<Vec<_>>().join(".");
    loop {
        let within = MODEL_WITHIN.iter().any(|beginning| name.starts_with(beginning)).then_some("model.");
        let wrapper = AT_THE_BEGINNING.iter().copied().find(|wrapper| name.starts_with(wrapper)).or(within);
        let Some(wrapper) = wrapper else { return name };
        note(wrapper.trim_end_matches('.'));
        name.drain(..wrapper.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names, the wrappers, and what is left out.
    fn names(names: &[&str]) -> (Vec<String>, Vec<&'static str>, Vec<String>) {
        let unwrapped = unwrap(names.iter().map(|name| ((*name).to_owned(), ())).collect());
        (unwrapped.tensors.into_keys().collect(), unwrapped.wrappers, unwrapped.left_out)
    }

    #[test]
    fn wrappers_are_taken_off_at_the_beginning_and_within() {
        let (found, wrappers, left_out) =
            names(&["module._orig_mod.a.w", "module.b.0._orig_mod.w", "module.c.module.w"]);
        assert_eq!(found, ["a.w", "b.0.w", "c.module.w"]);
        assert_eq!(wrappers, ["_orig_mod", "module"]);
        assert!(left_out.is_empty());
        let (found, wrappers, _) = names(&["base_model.model.a.w", "_orig_mod.b.w", "c.module.w"]);
        assert_eq!(found, ["a.w", "b.w", "c.module.w"]);
        assert_eq!(wrappers, ["_orig_mod", "base_model.model"]);
    }

    #[test]
    fn what_stands_beside_the_dictionary_of_the_model_is_left_out_and_named() {
        let beside = ["optimizer.state.0.exp_avg", "rng_state", "ema.model.a.w", "callbacks.best"];
        for dictionary in ["state_dict", "model_state_dict", "model", "module", "net"] {
            let model = ["lm_head.w", "model.a.w"].map(|name| format!("{dictionary}.{name}"));
            let (found, wrappers, left_out) = names(&[&[&*model[0], &*model[1]], &beside[..]].concat());
            assert_eq!(
                (found.as_slice(), wrappers),
                (&["lm_head.w", "model.a.w"].map(str::to_owned)[..], vec![dictionary])
            );
            assert_eq!(left_out, ["callbacks", "ema", "optimizer", "rng_state"]);
        }
        let (found, wrappers, _) =
            names(&["rng_state", "state_dict.model.model.a.w", "state_dict.model.lm_head.w"]);
        assert_eq!(found, ["lm_head.w", "model.a.w"]);
        assert_eq!(wrappers, ["state_dict", "model"]);
    }

    #[test]
    fn wrappers_of_the_field_of_a_dictionary_are_taken_off() {
        let (found, wrappers, left_out) =
            names(&["model.module.model.a.w", "model.module.lm_head.w", "step"]);
        assert_eq!(found, ["lm_head.w", "model.a.w"]);
        assert_eq!((wrappers, left_out), (vec!["model", "module"], vec!["step".to_owned()]));
        let (found, wrappers, _) =
            names(&["model.h.0.w", "model.ln_f.w", "model.wpe.w", "model.wte.w", "step"]);
        assert_eq!(found, ["h.0.w", "ln_f.w", "wpe.w", "wte.w"]);
        assert_eq!(wrappers, ["model"]);
        let (found, wrappers, _) = names(&["pretrained_model.model.a.w", "v_head.summary.w"]);
        assert_eq!(found, ["model.a.w", "v_head.summary.w"]);
        assert_eq!(wrappers, ["pretrained_model"]);
    }

    #[test]
    fn a_part_of_a_model_that_is_called_model_is_not_a_dictionary() {
        let plain = ["lm_head.w", "model.embed_tokens.w", "model.layers.0.w"];
        assert_eq!(names(&plain), (plain.map(str::to_owned).to_vec(), Vec::new(), Vec::new()));
    }

    #[test]
    fn names_stay_where_two_would_become_one() {
        let stay = (vec!["a".to_owned(), "module.a".to_owned()], Vec::new(), Vec::new());
        assert_eq!(names(&["module.a", "a"]), stay);
    }
}
