//! Taps by the names that programs give to tensors.

use inject_models::Tap;

/// The tap that the name of a tensor stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum TapName {
    /// The name alone says which tap it is.
    Known(Tap),
    /// An entry of a list of layers, from 0. Whether the list begins with the embeddings is not known.
    Listed(usize),
    /// An entry of the list that a step of a generation left, both from 0.
    Step(usize, usize),
    /// An entry of the list that each prompt left at this tap, from 0.
    Prompt(Tap, usize),
}

/// The words before the number of a list of layers. NumPy gives the arrays of `savez` without names the last one.
const LISTS: [&str; 7] = ["", "layer", "layers", "hidden_state", "hidden_states", "all_hidden_states", "arr"];

/// The modules of Hugging Face's models that hold the blocks.
const BLOCKS: [&str; 3] = ["layers", "h", "blocks"];

impl TapName {
    /// Whether it is an entry of a list of layers, steps or prompts.
    pub(super) fn is_of_list(self) -> bool {
        !matches!(self, TapName::Known(_))
    }

    /// Returns the tap of a name, if the name is a known one.
    ///
    /// | name | tap |
    /// |---|---|
    /// | `block-3` | itself |
    /// | `model.layers.2`, `transformer.h.2` (the output of a module), `blocks.2.hook_resid_post` | block-3 |
    /// | `blocks.2.hook_resid_pre` | block-2 |
    /// | `model__layers__2` | as with dots |
    /// | `last_hidden_state` | final-norm |
    /// | `layer_2`, `hidden_states.2`, `2` | the third of a list |
    /// | `hidden_states.4.2`, `4.hidden_states.2` | the third of the list of the fifth step, or of the fifth prompt |
    /// | `outputs.hidden_states.2` | the third of a list |
    /// | `hs_cache.model.layers.2.hidden_states.4` | block-3 of the fifth prompt |
    ///
    /// # Source
    ///
    /// The hooks are those of TransformerLens, `transformer_lens/components/transformer_block.py`. The last name, and the one with two
    /// underscores for each dot, are those of vLLM-Hook, `workers/probe_hidden_states_worker.py`.
    pub(super) fn parse(name: &str) -> Option<Self> {
        if let Ok(tap) = name.parse() {
            return Some(TapName::Known(tap));
        }
        if !name.contains('.') && name.contains("__") {
            return TapName::parse(&name.replace("__", "."));
        }
        let name = name.strip_suffix(".output").unwrap_or(name);
        let parts: Vec<&str> = name.split('.').collect();
        match parts[..] {
            [.., "last_hidden_state"] => return Some(TapName::Known(Tap::FinalNorm)),
            [ref module @ .., "hidden_states"] => {
                if let Some(tap) = of_module(module) {
                    return Some(TapName::Known(tap));
                }
            }
            [ref module @ .., "hidden_states", prompt] => {
                if let (Some(tap), Some(prompt)) = (of_module(module), number(prompt)) {
                    return Some(TapName::Prompt(tap, prompt));
                }
            }
            _ => {}
        }
        if let [.., step, list, layer] = parts[..]
            && ["hidden_states", "all_hidden_states"].contains(&list)
            && let (Some(step), Some(layer)) = (number(step), number(layer))
        {
            return Some(TapName::Step(step, layer));
        }
        // The names of the dictionaries around a list of transformers say nothing of its entries.
        let list = parts.iter().position(|part| ["hidden_states", "all_hidden_states"].contains(part));
        let parts = parts[list.filter(|at| at + 1 < parts.len()).unwrap_or(0)..].to_vec();
        let name = &parts.join(".")[..];
        if let ["hidden_states" | "all_hidden_states", key] = parts[..]
            && number(key).is_none()
        {
            return TapName::parse(key);
        }
        if let [.., "blocks", block, hook] = parts[..] {
            let block = number(block)?;
            return match hook {
                "hook_resid_post" => Some(TapName::Known(Tap::Block(block.checked_add(1)?))),
                "hook_resid_pre" if block == 0 => Some(TapName::Known(Tap::Embedding)),
                "hook_resid_pre" => Some(TapName::Known(Tap::Block(block))),
                _ => None,
            };
        }
        match parts[..] {
            // The first entry of a tuple is the state.
            [_, .., modules, block, "0"] if BLOCKS.contains(&modules) => {
                Some(TapName::Known(Tap::Block(number(block)?.checked_add(1)?)))
            }
            [.., modules, block] if BLOCKS.contains(&modules) => {
                Some(TapName::Known(Tap::Block(number(block)?.checked_add(1)?)))
            }
            [.., "norm" | "ln_f" | "final_layernorm"] if parts.len() <= 2 => {
                Some(TapName::Known(Tap::FinalNorm))
            }
            [list, step, layer] if LISTS.contains(&list) => {
                Some(TapName::Step(number(step)?, number(layer)?))
            }
            [step, layer] if number(step).is_some() => Some(TapName::Step(number(step)?, number(layer)?)),
            _ => {
                let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
                let (list, index) = name.split_at(name.len() - digits);
                let list = list.trim_end_matches(['_', '.', '-']);
                if LISTS.contains(&list) { number(index).map(TapName::Listed) } else { None }
            }
        }
    }
}

/// The tap of a module, if its name alone says which.
fn of_module(parts: &[&str]) -> Option<Tap> {
    match TapName::parse(&parts.join(".")) {
        Some(TapName::Known(tap)) => Some(tap),
        _ => None,
    }
}

fn number(text: &str) -> Option<usize> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// Returns the taps of a whole list of `count` layers of a model with `n_layers` blocks: Hugging Face's `hidden_states`, or all taps.
pub(super) fn of_list(count: usize, n_layers: usize) -> Option<Vec<Tap>> {
    let all = Tap::all(n_layers);
    if count == n_layers + 2 {
        return Some(all);
    }
    // Hugging Face leaves out the last block and gives its normed states.
    let named = all.into_iter().filter(|&tap| tap != Tap::Block(n_layers));
    (count == n_layers + 1).then(|| named.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_their_taps() {
        use TapName::{Known, Listed, Prompt, Step};
        for (name, expected) in [
            ("final-norm", Some(Known(Tap::FinalNorm))),
            ("block-3", Some(Known(Tap::Block(3)))),
            ("model.layers.2", Some(Known(Tap::Block(3)))),
            ("layers.0", Some(Known(Tap::Block(1)))),
            ("transformer.h.11.output", Some(Known(Tap::Block(12)))),
            ("model.norm", Some(Known(Tap::FinalNorm))),
            ("blocks.0.hook_resid_pre", Some(Known(Tap::Embedding))),
            ("blocks.0.hook_resid_post", Some(Known(Tap::Block(1)))),
            ("blocks.0.hook_mlp_out", None),
            ("layer_0", Some(Listed(0))),
            ("hidden_states.12", Some(Listed(12))),
            ("7", Some(Listed(7))),
            ("hidden_states.4.2", Some(Step(4, 2))),
            ("4.2", Some(Step(4, 2))),
            ("outputs.hidden_states.3", Some(Listed(3))),
            ("run.outputs.hidden_states.4.2", Some(Step(4, 2))),
            ("outputs.hidden_states", None),
            ("1.hidden_states.3", Some(Step(1, 3))),
            ("hidden_states.layer_2", Some(Listed(2))),
            ("hidden_states.block-3", Some(Known(Tap::Block(3)))),
            ("transformer.h.2.0", Some(Known(Tap::Block(3)))),
            ("transformer.h.2.1", None),
            ("arr_4", Some(Listed(4))),
            ("model.layers.2.input_layernorm", None),
            ("hidden_states", None),
            ("model__layers__2", Some(Known(Tap::Block(3)))),
            ("hs_cache.transformer.h.2.hidden_states.1", Some(Prompt(Tap::Block(3), 1))),
            ("hs_cache.model.layers.2.hidden_states", Some(Known(Tap::Block(3)))),
            ("outputs.last_hidden_state", Some(Known(Tap::FinalNorm))),
            ("last_hidden_state.2", None),
            ("layer_99999999999999999999", None),
            ("", None),
        ] {
            assert_eq!(TapName::parse(name), expected, "{name}");
        }
    }

    #[test]
    fn a_whole_list_is_named_by_its_length() {
        use Tap::{Block, Embedding, FinalNorm};
        assert_eq!(of_list(3, 2).unwrap(), [Embedding, Block(1), FinalNorm]);
        assert_eq!(of_list(4, 2).unwrap(), [Embedding, Block(1), Block(2), FinalNorm]);
        assert_eq!(of_list(2, 2), None);
    }
}
