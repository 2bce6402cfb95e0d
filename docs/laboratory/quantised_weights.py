"""Writes a checkpoint whose linear maps were rounded, as another program holds them, for the measurement in results/producers.md.

    python quantised_weights.py --model FOLDER --out FOLDER --scheme SCHEME

The weights are restored to 32-bit numbers and stored in the ordinary layout, so every program loads them.

- `int8`: the weights of each output share a scale (bitsandbytes);
- `nf4`, `fp4`: blocks of 64 share a scale (bitsandbytes);
- `int4`: blocks of 64 with 15 even steps;
- `q8_0`, `q5_0`, `q4_0`: blocks of 32 with a scale in f16 (GGUF);
- `q4_k`: superblocks of 256 in blocks of 32 with a scale and a least value, in 6 bits of those of the superblock (GGUF). The scale is
  that of the largest and the least value, without the search of llama.cpp. Rows that are not whole superblocks are `q5_0`, as there, and
  the embedding is `q8_0`.
"""

import argparse
import pathlib
import shutil

import numpy as np
import torch
from safetensors.torch import load_file, save_file

# Dettmers et al., "QLoRA" (arXiv 2305.14314), appendix E; bitsandbytes, functional.py (get_4bit_type).
NF4 = [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334]
NF4 += [-0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224]
NF4 += [0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0]
FP4 = sorted({sign * value / 12.0 for sign in (-1, 1) for value in (0.0, 0.0625, 8.0, 12.0, 4.0, 6.0, 2.0, 3.0)})

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--model", required=True, type=pathlib.Path)
parser.add_argument("--out", required=True, type=pathlib.Path)
parser.add_argument("--scheme", required=True)
args = parser.parse_args()


def half(values):
    return values.astype(np.float16).astype(np.float32)


def coded(weights, block, code):
    """Rounds to the nearest value of a code times the largest magnitude of each block."""
    code = np.array(code, np.float32)
    blocks = weights.reshape(-1, block)
    scale = np.maximum(np.abs(blocks).max(axis=1, keepdims=True), 1e-30)
    between = (code[1:] + code[:-1]) / 2
    return (code[np.searchsorted(between, blocks / scale)] * scale).reshape(weights.shape)


def even(weights, block, steps):
    """Rounds to even steps of the largest magnitude of each block, kept in f16 if it has `steps` for each sign."""
    blocks = weights.reshape(-1, block)
    scale = half(np.abs(blocks).max(axis=1, keepdims=True) / steps)
    return (np.round(blocks / np.maximum(scale, 1e-30)) * scale).reshape(weights.shape)


def signed(weights, bits):
    """GGUF's q4_0 and q5_0: the value of the largest magnitude becomes the least code."""
    blocks = weights.reshape(-1, 32)
    largest = np.take_along_axis(blocks, np.abs(blocks).argmax(axis=1)[:, None], axis=1)
    most = 2 ** (bits - 1)
    exact = largest / -most
    inverse = np.where(exact == 0, 0, 1 / np.where(exact == 0, 1, exact))
    codes = np.clip(np.floor(blocks * inverse + most + 0.5), 0, 2 * most - 1) - most
    return (codes * half(exact)).reshape(weights.shape)


def k_quant(weights):
    """GGUF's q4_k: code * scale - least, with scales and least values in 6 bits of those of a superblock."""
    if weights.shape[1] % 256:
        return signed(weights, 5)
    blocks = weights.reshape(-1, 8, 32)
    least = np.maximum(-blocks.min(axis=2), 0)
    scale = (blocks.max(axis=2) + least) / 15
    scale_of, least_of = (half(values.max(axis=1, keepdims=True) / 63) for values in (scale, least))
    scale = np.round(scale / np.maximum(scale_of, 1e-30)) * scale_of
    least = np.round(least / np.maximum(least_of, 1e-30)) * least_of
    codes = np.clip(np.round((blocks + least[..., None]) / np.maximum(scale, 1e-30)[..., None]), 0, 15)
    return (codes * scale[..., None] - least[..., None]).reshape(weights.shape)


SCHEMES = {
    "int8": lambda weights: coded(weights, weights.shape[1], np.arange(-127, 128) / 127),
    "int4": lambda weights: coded(weights, 64, np.arange(-7, 8) / 7),
    "nf4": lambda weights: coded(weights, 64, NF4),
    "fp4": lambda weights: coded(weights, 64, FP4),
    "q8_0": lambda weights: even(weights, 32, 127),
    "q5_0": lambda weights: signed(weights, 5),
    "q4_0": lambda weights: signed(weights, 4),
    "q4_k": k_quant,
}

tensors = {}
for name, tensor in load_file(args.model / "model.safetensors").items():
    weights = tensor.float().numpy()
    if name.endswith("_proj.weight"):
        weights = SCHEMES[args.scheme](weights)
    elif "embed_tokens" in name and args.scheme == "q4_k":
        weights = SCHEMES["q8_0"](weights)
    tensors[name] = torch.from_numpy(np.ascontiguousarray(weights, np.float32))
args.out.mkdir(parents=True, exist_ok=True)
for name in ("config.json", "tokenizer.json"):
    shutil.copyfile(args.model / name, args.out / name)
save_file(tensors, args.out / "model.safetensors", metadata={"format": "pt"})
