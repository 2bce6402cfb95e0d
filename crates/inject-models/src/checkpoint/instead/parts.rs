//! The parts into which a training divides a model.

use std::path::Path;

/// A kind of parts: whether the name of a file or folder gives it away, and the way to join them.
struct Kind {
    is_of: fn(&str) -> bool,
    advice: &'static str,
}

/// The kinds, the surest first: DeepSpeed with and without its script, accelerate, XLA, Megatron, PyTorch's own, verl, and those of programs that
/// number the processes.
const KINDS: [Kind; 9] = [
    Kind {
        is_of: |name| name == "zero_to_fp32.py",
        advice: "join them with it (`python zero_to_fp32.py . OUT`)",
    },
    Kind {
        is_of: |name| name.ends_with("_model_states.pt") || name.ends_with("_optim_states.pt"),
        advice: "join them with DeepSpeed in the folder above (`python -m deepspeed.utils.zero_to_fp32 . OUT`)",
    },
    Kind {
        is_of: |name| name.starts_with("pytorch_model_fsdp") && name.contains("_rank"),
        advice: "load them with as many processes as saved them, and save with fsdp_state_dict_type FULL_STATE_DICT",
    },
    Kind {
        is_of: |name| name.starts_with("pytorch_model_fsdp_") && !name.contains('.'),
        advice: "join them with accelerate (`accelerate merge-weights pytorch_model_fsdp_0 OUT`)",
    },
    Kind {
        is_of: |name| {
            name.starts_with("rank") && name.contains("-of-") && name.ends_with("pytorch_model.bin")
        },
        advice: "join them with PyTorch/XLA (`python -m torch_xla.distributed.fsdp.consolidate_sharded_ckpts`)",
    },
    Kind {
        is_of: |name| name == "model_optim_rng.pt" || name.starts_with("mp_rank_0"),
        advice: "convert them to the format of Hugging Face transformers with Megatron",
    },
    Kind {
        is_of: |name| name.ends_with(".distcp"),
        advice: "join them with PyTorch (`python -m torch.distributed.checkpoint.format_utils dcp_to_torch . pytorch_model.bin`)",
    },
    Kind {
        is_of: |name| name.contains("_world_size_") && is_of_rank(name),
        advice: "join them with verl (`python -m verl.model_merger merge --backend fsdp --local_dir . --target_dir OUT`)",
    },
    Kind {
        is_of: is_of_rank,
        advice: "load them with the program and as many processes as saved them, and save the whole model",
    },
];

/// Whether the name of a file with weights has the number of a process in it, as in `model_rank_0.pt`.
fn is_of_rank(name: &str) -> bool {
    let is_weights = [".pt", ".pth", ".bin", ".ckpt", ".safetensors"].iter().any(|end| name.ends_with(end));
    let number = name.split_once("rank").map(|(_, rest)| rest.trim_start_matches(['_', '-']));
    is_weights && number.is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Beginnings of the names of files that hold the state of a training and no weights. The last two lie beside parts, of Lightning and
/// of Megatron.
const STATES: [&str; 9] = [
    "optimizer",
    "scheduler",
    "scaler",
    "sampler",
    "rng_state",
    "random_states",
    "training_args",
    "meta.pt",
    "common.pt",
];

/// Whether a file is a part by its name, or the state of a training.
pub(super) fn is_of_training(name: &str) -> bool {
    KINDS.iter().any(|kind| (kind.is_of)(name)) || STATES.iter().any(|beginning| name.starts_with(beginning))
}

/// Looks for parts in a folder that has these names. Returns the name that gives them away, and the way to join them.
pub(super) fn find(folder: &Path, names: &[String]) -> Option<(String, &'static str)> {
    let named = |kind: &Kind| {
        let name = names.iter().find(|name| (kind.is_of)(name))?;
        Some((name.clone(), kind.advice))
    };
    KINDS.iter().find_map(named).or_else(|| deepspeed_without_script(folder, names))
}

/// DeepSpeed keeps the name of the folder of the last step in a file.
fn deepspeed_without_script(folder: &Path, names: &[String]) -> Option<(String, &'static str)> {
    let step = names.iter().find(|name| name.starts_with("global_step") && folder.join(name).is_dir())?;
    let advice = "join them with DeepSpeed (`python -m deepspeed.utils.zero_to_fp32 . OUT`)";
    names.iter().any(|name| name == "latest").then(|| (step.clone(), advice))
}
