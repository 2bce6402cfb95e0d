"""Compares states with Hugging Face transformers, on checkpoints that do not fit into memory.

    python parity_at_size.py states --model FOLDER --ids 11,22,33 --out theirs.safetensors
    inject extract --model FOLDER --ids 11,22,33 --taps LIST --positions all --out STORE
    python parity_at_size.py compare theirs.safetensors STORE

`states` runs the model of transformers itself, in float32 with eager attention. Its weights are read from the safetensors files one
layer at a time, just before the layer runs, and dropped just after it. Of the embedding only the rows of the prompt are
read. So memory holds one layer. The taps are named as in `inject`: `embedding`, `block-7`, `final-norm`. Without --taps they are the
embedding, the first block, the middle, the last block and the final norm; the list is printed, for --taps of `inject extract`.

`whole` writes the same states from the whole model, loaded as users load it. It checks `states` on small checkpoints.

`compare` prints the greatest relative difference at each tap: the distance of two states divided by the length of the expected
one, the largest over all positions. It ends with status 1 if one exceeds its bound. The bound is one of these:

- With --exact, states that `states --dtype float64` wrote: the tolerance of docs/numerics.md, section 1. The difference is then that of
  the found states from the exact ones.
- With --within, that number.
- Otherwise 4 * 2e-7 * sqrt(2 (1 + 2 n)) after n blocks. Section 1 allows 4 * 2e-7 for one computation. Each block adds two sums to the
  state, independent errors add as the root of their number, and both sides have them. States of random weights are within that. At an
  attention sink of a trained model (section 3) one error is multiplied into the whole state, so that --exact is needed.

Needs torch, transformers and safetensors.
"""

import argparse
import contextlib
import json
import pathlib
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModel


class Weights:
    """The tensors of a folder, read when they are asked for."""

    def __init__(self, folder, prefix):
        self.files, index = {}, folder / "model.safetensors.index.json"
        names = set(json.loads(index.read_text())["weight_map"].values()) if index.exists() else ["model.safetensors"]
        for name in sorted(names):
            file = safe_open(folder / name, framework="pt")
            # A base model has its tensors without the prefix that a model with a head has.
            self.files |= {tensor.removeprefix(f"{prefix}."): (file, tensor) for tensor in file.keys()}

    def rows(self, name, ids, dtype):
        file, tensor = self.files[name]
        part = file.get_slice(tensor)
        return torch.cat([part[i : i + 1] for i in ids]).to(dtype)

    def of(self, module, name, dtype):
        """The parameters and buffers that a module stores."""
        stored = {}
        for key in module.state_dict():
            file, tensor = self.files[f"{name}.{key}"]
            stored[key] = file.get_tensor(tensor).to(dtype)
        return stored


@contextlib.contextmanager
def without_weights():
    """Modules made here have parameters without memory. Buffers, such as rotary frequencies, are real."""
    register = torch.nn.Module.register_parameter

    def register_on_meta(module, name, parameter):
        if parameter is not None:
            parameter = torch.nn.Parameter(parameter.to("meta"), requires_grad=False)
        register(module, name, parameter)

    torch.nn.Module.register_parameter = register_on_meta
    try:
        yield
    finally:
        torch.nn.Module.register_parameter = register


def parts(model):
    """The embedding, the layers and the final norm: their names and modules."""
    modules = dict(model.named_children())
    find = lambda *names: next((name, modules[name]) for name in names if name in modules)
    return find("embed_tokens", "wte", "embed_in"), find("layers", "h"), find("norm", "ln_f", "final_layer_norm")


def keep(states, name):
    """A hook that keeps what enters a module."""

    def hook(_, args, kwargs):
        states[name] = (args[0] if args else kwargs["hidden_states"])[0].clone()

    return hook


def watch(model, taps):
    """Keeps the states at some taps while the model runs. Returns the table that they go into."""
    _, (_, layers), (_, norm) = parts(model)
    states = {}
    places = {"embedding": layers[0], f"block-{len(layers)}": norm}
    places |= {f"block-{i}": layer for i, layer in enumerate(layers) if i > 0}
    for tap in taps:
        if tap == "final-norm":
            norm.register_forward_hook(lambda _, __, out: states.update({"final-norm": out[0].clone()}))
        else:
            places[tap].register_forward_pre_hook(keep(states, tap), with_kwargs=True)
    return states


def layer_by_layer(folder, ids, taps, dtype):
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    with without_weights():
        model = AutoModel.from_config(config, attn_implementation="eager", dtype=dtype).eval()
    weights = Weights(folder, model.base_model_prefix or "model")
    states = watch(model, taps)
    (embedding_name, embedding), (layers_name, layers), (norm_name, norm) = parts(model)

    # A table of the prompt's rows alone, in the order of the prompt.
    rows = weights.rows(f"{embedding_name}.weight", ids, dtype)
    embedding.weight, embedding.padding_idx = torch.nn.Parameter(rows, requires_grad=False), None
    norm.load_state_dict(weights.of(norm, norm_name, dtype), assign=True)
    if hasattr(model, "wpe"):
        model.wpe.load_state_dict(weights.of(model.wpe, "wpe", dtype), assign=True)

    for i, layer in enumerate(layers):

        def load(layer, *_, name=f"{layers_name}.{i}"):
            layer.load_state_dict(weights.of(layer, name, dtype), assign=True)

        def drop(layer, *_):
            for module in layer.modules():
                for name, parameter in module.named_parameters(recurse=False):
                    setattr(module, name, torch.nn.Parameter(parameter.to("meta"), requires_grad=False))
            print(".", end="", flush=True, file=sys.stderr)

        layer.register_forward_pre_hook(load)
        layer.register_forward_hook(drop)
    model(torch.arange(len(ids))[None], use_cache=False)
    print(file=sys.stderr)
    return states


def whole(folder, ids, taps, dtype):
    model = AutoModel.from_pretrained(folder, local_files_only=True, attn_implementation="eager", dtype=dtype).eval()
    states = watch(model, taps)
    model(torch.tensor(ids)[None], use_cache=False)
    return states


def default_taps(folder):
    depth = AutoConfig.from_pretrained(folder, local_files_only=True).num_hidden_layers
    return ["embedding", "block-1", f"block-{depth // 2}", f"block-{depth}", "final-norm"]


def read(path):
    """States by tap: of a file that this program wrote, or of a store of `inject extract`."""
    if path.is_dir():
        states = {}
        for file in path.glob("tap-*.safetensors"):
            with safe_open(file, framework="pt") as opened:
                states[file.stem.removeprefix("tap-")] = opened.get_tensor("states").double()
        return states
    with safe_open(path, framework="pt") as opened:
        return {tap: opened.get_tensor(tap).double() for tap in opened.keys() if tap != "token_ids"}


def depth_of(tap, depth=float("inf")):
    """The blocks before a tap, in a model with so many."""
    if tap.startswith("block-"):
        return int(tap.removeprefix("block-"))
    return {"embedding": 0, "final-norm": depth}[tap]


def greatest(values):
    """The greatest of some numbers. One that is not a number is as far away as can be."""
    return torch.nan_to_num(values, nan=float("inf"), posinf=float("inf")).max().item()


def distances(a, b):
    """The relative distance of each state from the expected one. Equal states of length 0 are not apart."""
    apart = (a - b).norm(dim=-1)
    return torch.where(apart == 0, 0.0, apart / a.norm(dim=-1))


def tolerance(exact, theirs):
    """The bound of docs/numerics.md, section 1, for the relative distance of each state from the exact one."""
    length = exact.norm(dim=-1)
    return 4 * torch.maximum((theirs - exact).norm(dim=-1).max() / length, torch.tensor(2e-7))


def growth(tap, taps):
    """The bound for two computations of random weights, after the blocks before a tap."""
    depth = depth_of(tap, max((depth_of(tap, -1) for tap in taps), default=-1))
    if depth < 0:
        sys.exit(f"{tap}: expected a tap of a block too, which tells the depth, or --within")
    return 4 * 2e-7 * (2 * (1 + 2 * depth)) ** 0.5


def compare(expected, found, within, exact):
    theirs, ours, exact = read(expected), read(found), exact and read(exact)
    for states, path in ((ours, found), (exact, "the file of --exact")):
        if states is not None and (missing := sorted(set(theirs) - set(states))):
            sys.exit(f"{path} has no states at {', '.join(missing)}")
    print("| tap | greatest relative difference | share of the bound | positions |\n|---|---|---|---|")
    worst = 0.0
    for tap in sorted(theirs, key=depth_of):
        a, b = (exact or theirs)[tap], ours[tap]
        if not a.shape == b.shape == theirs[tap].shape:
            sys.exit(f"{tap}: found states {list(b.shape)}, expected {list(a.shape)}")
        relative = distances(a, b)
        if exact:
            bound = tolerance(a, theirs[tap])
        else:
            bound = torch.tensor(growth(tap, theirs) if within is None else within)
        share = greatest(torch.where(relative == 0, 0.0, relative / bound))
        worst = max(worst, share)
        print(f"| {tap} | {greatest(relative):.2e} | {share:.2f} | {len(a)} |")
    if worst > 1:
        sys.exit("a state is farther than its bound")
    print("every state is within its bound")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("states", "whole"):
        command = commands.add_parser(name)
        command.add_argument("--model", required=True, type=pathlib.Path, help="a checkpoint folder with safetensors files")
        command.add_argument("--ids", required=True, help="the prompt as token ids: 1,2,3")
        command.add_argument("--taps", help="names, comma-separated")
        command.add_argument("--out", required=True, type=pathlib.Path, help="the file for the states")
        command.add_argument("--dtype", default="float32", choices=["float32", "float64"], help="to compute in")
    command = commands.add_parser("compare")
    command.add_argument("expected", type=pathlib.Path, help="a file that `states` or `whole` wrote")
    command.add_argument("found", type=pathlib.Path, help="another one, or a store of `inject extract --positions all`")
    bound = command.add_mutually_exclusive_group()
    bound.add_argument("--within", type=float, help="the greatest relative difference that is not a failure")
    bound.add_argument("--exact", type=pathlib.Path, help="the same states in float64, for the tolerance of docs/numerics.md")
    args = parser.parse_args()

    if args.command == "compare":
        return compare(args.expected, args.found, args.within, args.exact)
    ids = [int(id) for id in args.ids.split(",")]
    taps = args.taps.split(",") if args.taps else default_taps(args.model)
    run = layer_by_layer if args.command == "states" else whole
    with torch.inference_mode():
        states = run(args.model, ids, taps, getattr(torch, args.dtype))
    save_file({tap: states[tap].contiguous() for tap in taps} | {"token_ids": torch.tensor(ids)}, args.out)
    print(f"wrote {args.out}; taps {','.join(taps)}")


if __name__ == "__main__":
    main()
