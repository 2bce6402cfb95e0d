//! The names that wrappers of training add to the names of tensors.

use std::collections::BTreeMap;

/// Steps of a name that stand for a wrapper, wherever they are: `torch.compile`, FSDP and activation checkpointing.
const ANYWHERE: &[&str] = &["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];

/// Beginnings of a name that stand for a wrapper: data parallel training, PEFT, and dictionaries in a pickle.
const AT_THE_BEGINNING: &[&str] =
    &["module.", "net.", "base_model.model.", "state_dict.", "model_state_dict."];

/// Dictionaries of a checkpoint of training that hold the whole model. The rest, such as the state of the optimiser, is not weights.
const DICTIONARIES: &[&str] = &["state_dict.", "model_state_dict."];

/// Beginnings of names of what else a checkpoint of training holds, where the model's dictionary is called like a part of a model.
const OF_TRAINING: &[&str] = &[
    "cuda_rng_state",
    "lr_scheduler",
    "optimizer.",
    "optimizer_state",
    "optimizers.",
    "random_rng_state",
    "rng_state",
    "scaler.",
    "scheduler.",
];

/// Beginnings of names of a model that is the field `model` of another one, or of a dictionary.
const MODEL_WITHIN: &[&str] =
    &["model.model.", "model.transformer.", "model.gpt_neox.", "model.lm_head.", "model.embed_out."];

/// Returns the tables of tensors under their own names, and the wrappers that the names had.
///
/// Nothing changes if two tensors would get the same name.
pub(super) fn unwrap<T>(mut tensors: BTreeMap<String, T>) -> (BTreeMap<String, T>, Vec<&'static str>) {
    let mut wrappers = Vec::new();
    let dictionary =
        DICTIONARIES.iter().find(|dictionary| tensors.keys().any(|name| name.starts_with(**dictionary)));
    if let Some(dictionary) = dictionary {
        tensors.retain(|name, _| name.starts_with(dictionary));
    }
    tensors.retain(|name, _| !OF_TRAINING.iter().any(|beginning| name.starts_with(beginning)));
    let names: Vec<String> = tensors.keys().map(|name| own_name(name, &mut wrappers)).collect();
    let mut distinct = names.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if wrappers.is_empty() || distinct.len() < names.len() {
        return (tensors, Vec::new());
    }
    (names.into_iter().zip(tensors.into_values()).collect(), wrappers)
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
    while let Some(wrapper) = AT_THE_BEGINNING.iter().find(|wrapper| name.starts_with(**wrapper)) {
        note(wrapper.trim_end_matches('.'));
        name.drain(..wrapper.len());
    }
    if MODEL_WITHIN.iter().any(|beginning| name.starts_with(beginning)) {
        note("model");
        name.drain(.."model.".len());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> (Vec<String>, Vec<&'static str>) {
        let (tensors, wrappers) = unwrap(names.iter().map(|name| ((*name).to_owned(), ())).collect());
        (tensors.into_keys().collect(), wrappers)
    }

    #[test]
    fn wrappers_are_taken_off_at_the_beginning_and_within() {
        let (found, wrappers) =
            names(&["module._orig_mod.a.w", "base_model.model.b.0._orig_mod.w", "c.module.w"]);
        assert_eq!(found, ["a.w", "b.0.w", "c.module.w"]);
        assert_eq!(wrappers, ["_orig_mod", "base_model.model", "module"]);
    }

    #[test]
    fn the_dictionary_of_the_model_is_read_and_the_state_of_the_optimiser_left() {
        let (found, wrappers) =
            names(&["optimizer.state.0.exp_avg", "state_dict.model.model.a.w", "state_dict.model.lm_head.w"]);
        assert_eq!(found, ["lm_head.w", "model.a.w"]);
        assert_eq!(wrappers, ["state_dict", "model"]);
    }

    #[test]
    fn what_training_keeps_beside_a_model_of_any_name_is_left() {
        for (dictionary, taken_off) in [("model", "model"), ("module", "module"), ("net", "net")] {
            let model = ["lm_head.w", "model.a.w"].map(|name| format!("{dictionary}.{name}"));
            let beside = ["optimizer.state.0.exp_avg", "rng_state", "lr_scheduler.last", "scaler.scale"];
            let (found, wrappers) = names(&[&[&*model[0], &*model[1]], &beside[..]].concat());
            assert_eq!(
                (found, wrappers),
                (vec!["lm_head.w".to_owned(), "model.a.w".to_owned()], vec![taken_off])
            );
        }
    }

    #[test]
    fn names_stay_where_two_would_become_one() {
        assert_eq!(names(&["module.a", "a"]), (vec!["a".to_owned(), "module.a".to_owned()], Vec::new()));
    }
}
