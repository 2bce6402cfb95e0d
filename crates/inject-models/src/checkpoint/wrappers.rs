//! The names that wrappers of training add to the names of tensors.

use std::collections::{BTreeMap, BTreeSet};

/// Steps of a name that stand for a wrapper, wherever they are: `torch.compile`, FSDP and activation checkpointing.
const ANYWHERE: &[&str] = &["_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"];

/// Beginnings of the names of a model that stand for a wrapper: PEFT's, trlX's, and TRL's. Other names may stand beside them.
const AT_THE_BEGINNING: &[&str] = &[OF_PEFT, OF_FIELD, "pretrained_model."];

/// PEFT stores the whole model under this name.
const OF_PEFT: &str = "base_model.model.";

/// trlX stores the whole model under this name. Its head then stands beside a `model` or `transformer`.
const OF_FIELD: &str = "base_model.";

/// Dictionaries of a checkpoint of training that hold the whole model, and the wrappers of data parallel training.
const DICTIONARIES: &[&str] =
    &["state_dict.", "model_state_dict.", "model_state.", "module.", "net.", "model."];

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

/// First steps of names that a checkpoint of training has beside those of a model, and no model has.
const BESIDE: &[&str] = &[
    "optim",
    "optimizer",
    "optimizers",
    "optimizer_state",
    "optimizer_states",
    "opt",
    "opt_state",
    "lr_scheduler",
    "lr_schedulers",
    "scheduler",
    "schedulers",
    "scheduler_state",
    "scaler",
    "grad_scaler",
    "amp",
    "ema",
    "model_ema",
    "ema_model",
    "rng",
    "rng_state",
    "rng_states",
    "random_state",
    "random_states",
    "epoch",
    "step",
    "global_step",
    "iter",
    "iter_num",
    "iteration",
    "loss",
    "best_loss",
    "best_val_loss",
    "best_metric",
    "callbacks",
    "loops",
    "hyper_parameters",
    "hparams",
    "args",
    "config",
];

/// Ends of such first steps, after the name of what they belong to.
const BESIDE_ENDS: &[&str] = &["_state_dict", "_state_dicts", "_rng_state", "_rng_state_all", "_rng_states"];

/// The most wrappers at the beginning of a name. Real ones have three.
const DEEPEST: usize = 8;

/// The names of a model's tensors without those of wrappers.
#[derive(Debug, Default)]
pub(super) struct Unwrapped {
    /// The own name of each tensor of the model, by its name in the file.
    pub(super) own: BTreeMap<String, String>,
    /// The wrappers that the names had.
    pub(super) wrappers: Vec<&'static str>,
    /// The contents beside the model, by the first steps of their names.
    pub(super) left_out: Vec<String>,
}

/// Takes the names of wrappers off the names of tensors. Returns `None` if nothing changes.
///
/// Training keeps the model in a dictionary of a usual name, and the state of the optimiser and the like beside it. Where there is
/// such a dictionary, what stands beside it is left out. Without one, only what no model has is left out. Nothing changes if two
/// tensors would get the same name.
pub(super) fn unwrap<'n>(names: impl Iterator<Item = &'n str>) -> Option<Unwrapped> {
    let mut unwrapped = Unwrapped::default();
    for name in names {
        let own = unwrapped.without_steps(name);
        unwrapped.own.insert(name.to_owned(), own);
    }
    for _ in 0..DEEPEST {
        if !unwrapped.take_one_off() {
            break;
        }
    }
    unwrapped.leave_out(is_of_training);
    let distinct: BTreeSet<&String> = unwrapped.own.values().collect();
    let changes = !unwrapped.wrappers.is_empty() || !unwrapped.left_out.is_empty();
    (changes && distinct.len() == unwrapped.own.len()).then_some(unwrapped)
}

impl Unwrapped {
    /// Returns a name without the wrappers that may stand anywhere, and lists them.
    fn without_steps(&mut self, name: &str) -> String {
        let steps = name.split('.').filter(|step| match ANYWHERE.iter().find(|wrapper| *wrapper == step) {
            None => true,
            Some(wrapper) => {
                self.note(wrapper);
                false
            }
        });
        steps.collect::<Vec<_>>().join(".")
    }

    /// Takes the outermost wrapper off, if there is one.
    fn take_one_off(&mut self) -> bool {
        let has = |beginning: &str| self.own.values().any(|name| name.starts_with(beginning));
        let dictionary = DICTIONARIES.iter().find(|dictionary| match **dictionary {
            // Many models have a part of the name `model` themselves.
            "model." => MODEL_WITHIN.iter().any(|beginning| has(beginning)),
            dictionary => has(dictionary),
        });
        let is_field = self.within(OF_FIELD).any(|name| !name.starts_with("model."));
        let mut beginnings = AT_THE_BEGINNING.iter().filter(|wrapper| !(is_field && **wrapper == OF_PEFT));
        let Some(&wrapper) = dictionary.or_else(|| beginnings.find(|wrapper| has(wrapper))) else {
            return false;
        };
        if dictionary.is_some() && !self.is_the_model(wrapper) {
            return false;
        }
        let names: BTreeSet<&str> = self.own.values().map(String::as_str).collect();
        if self.within(wrapper).any(|own| names.contains(own)) {
            return false;
        }
        self.note(wrapper.trim_end_matches('.'));
        if dictionary.is_some() {
            self.leave_out(|name| !name.starts_with(wrapper));
        }
        for name in self.own.values_mut().filter(|name| name.starts_with(wrapper)) {
            name.drain(..wrapper.len());
        }
        true
    }

    /// Whether a dictionary is the model, and not what stands beside it: it has more tensors, and none of the others has the name of one
    /// of its own, or a name with more or fewer first steps. Of two models, either may be meant.
    fn is_the_model(&self, dictionary: &str) -> bool {
        let others = self.own.values().map(String::as_str);
        let others: Vec<&str> =
            others.filter(|name| !name.starts_with(dictionary) && !is_of_training(name)).collect();
        let within: BTreeSet<&str> = self.within(dictionary).collect();
        let ends: BTreeSet<&str> = within.iter().flat_map(|name| ends(name)).collect();
        let is_another =
            |name: &&str| ends.contains(name) || self::ends(name).any(|end| within.contains(end));
        within.len() > others.len() && !others.iter().any(is_another)
    }

    /// The names that begin with a wrapper, without it.
    fn within(&self, wrapper: &str) -> impl Iterator<Item = &str> {
        self.own.values().filter_map(move |name| name.strip_prefix(wrapper))
    }

    fn note(&mut self, wrapper: &'static str) {
        if !self.wrappers.contains(&wrapper) {
            self.wrappers.push(wrapper);
        }
    }

    fn leave_out(&mut self, is_beside: impl Fn(&str) -> bool) {
        let beside = self.own.values().filter(|name| is_beside(name));
        let steps: BTreeSet<String> = beside.map(|name| first_step(name).to_owned()).collect();
        self.own.retain(|_, name| !is_beside(name));
        self.left_out.extend(steps);
    }
}

fn first_step(name: &str) -> &str {
    name.split('.').next().unwrap_or_default()
}

/// A name, and what is left of it without its first step, its first two, and so on.
fn ends(name: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(name), |name| Some(name.split_once('.')?.1))
}

/// Whether a tensor belongs to the state of training and not to a model, as those of `model_state_dict` do.
fn is_of_training(name: &str) -> bool {
    let step = first_step(name);
    let is_model = DICTIONARIES.iter().any(|dictionary| name.starts_with(dictionary));
    !is_model && (BESIDE.contains(&step) || BESIDE_ENDS.iter().any(|end| step.ends_with(end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names in order, the wrappers, and what is left out.
    fn names(names: &[&str]) -> (Vec<String>, Vec<&'static str>, Vec<String>) {
        let Some(Unwrapped { own, wrappers, left_out }) = unwrap(names.iter().copied()) else {
            let mut names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            names.sort();
            return (names, Vec::new(), Vec::new());
        };
        let own: BTreeSet<String> = own.into_values().collect();
        (own.into_iter().collect(), wrappers, left_out)
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
        for dictionary in ["state_dict", "model_state_dict", "model_state", "model", "module", "net"] {
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
    fn a_model_in_the_field_base_model_keeps_its_head() {
        for (within, head) in [("model.layers.0.w", "lm_head.w"), ("transformer.h.0.w", "lm_head.w")] {
            let fields = [within, head].map(|name| format!("base_model.{name}"));
            let (found, wrappers, left_out) = names(&[&fields[0], &fields[1], "v_head.0.w"]);
            let mut expected = [within, head, "v_head.0.w"];
            expected.sort_unstable();
            assert_eq!((found.as_slice(), wrappers), (&expected.map(str::to_owned)[..], vec!["base_model"]));
            assert!(left_out.is_empty());
        }
    }

    #[test]
    fn a_part_of_a_model_that_is_called_model_is_not_a_dictionary() {
        let plain = ["lm_head.w", "model.embed_tokens.w", "model.layers.0.w"];
        assert_eq!(names(&plain), (plain.map(str::to_owned).to_vec(), Vec::new(), Vec::new()));
    }

    #[test]
    fn the_state_of_training_beside_a_model_without_a_dictionary_is_left_out() {
        let beside = ["ema.embed_tokens.w", "loss", "optimizer_state_dict.state.0.exp_avg", "rng", "step"];
        // A model without a head in `model`: its own names begin with `model.` too.
        let model = ["model.embed_tokens.w", "model.layers.0.w", "model.norm.w", "score.w"];
        let (found, wrappers, left_out) = names(&[&beside[..], &model].concat());
        assert_eq!((found, wrappers), (model.map(str::to_owned).to_vec(), Vec::new()));
        assert_eq!(left_out, ["ema", "loss", "optimizer_state_dict", "rng", "step"]);
    }

    #[test]
    fn a_tensor_whose_name_only_begins_like_a_state_of_training_is_the_models() {
        let model = ["argsort_head.w", "config_proj.w", "lm_head.w", "model.a.w", "step_embedding.w"];
        assert_eq!(names(&model), (model.map(str::to_owned).to_vec(), Vec::new(), Vec::new()));
        let (found, _, left_out) = names(&[&model[..], &["cuda_rng_state_all.0", "step"]].concat());
        assert_eq!(found, model);
        assert_eq!(left_out, ["cuda_rng_state_all", "step"]);
    }

    #[test]
    fn a_name_that_shows_the_dictionary_counts_for_all_names_in_it() {
        let beside = ["optimizer.state.0.step"];
        let model = ["model.embed_in.w", "model.layers.0.w"];
        let (found, wrappers, left_out) = names(&[&model[..], &beside].concat());
        assert_eq!(
            (found, wrappers),
            (vec!["embed_in.w".to_owned(), "layers.0.w".to_owned()], vec!["model"])
        );
        assert_eq!(left_out, ["optimizer"]);
        let compiled = ["model._orig_mod.lm_head.w", "model._orig_mod.model.a.w"];
        let (found, wrappers, left_out) = names(&[&compiled[..], &beside].concat());
        assert_eq!(found, ["lm_head.w", "model.a.w"]);
        assert_eq!((wrappers, left_out), (vec!["_orig_mod", "model"], vec!["optimizer".to_owned()]));
    }

    #[test]
    fn names_stay_where_two_would_become_one() {
        let stay = (vec!["a".to_owned(), "module.a".to_owned()], Vec::new(), Vec::new());
        assert_eq!(names(&["module.a", "a"]), stay);
        for two in [["model.model.a.w", "module.model.a.w"], ["model.norm.w", "state_dict.norm.w"]] {
            assert_eq!(names(&two), (two.map(str::to_owned).to_vec(), Vec::new(), Vec::new()));
        }
    }

    #[test]
    fn of_two_models_neither_is_chosen_whatever_their_names_begin_with() {
        for two in [
            &["lm_head.w", "module.h.0.w", "module.h.1.w", "module.wte.w", "transformer.h.0.w"][..],
            &["model.h.0.w", "model.wte.w", "module.h.0.w", "module.ln_f.w", "module.wte.w"],
            &["model.a.w", "model.b.w", "module.foo.weight", "score.w"],
            &["model_state_dict.a.w", "state_dict.a.w", "state_dict.b.w"],
        ] {
            let stay: Vec<String> = two.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(names(two), (stay, Vec::new(), Vec::new()), "{two:?}");
        }
    }
}
