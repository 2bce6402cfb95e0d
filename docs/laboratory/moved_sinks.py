"""Prints how other weights move the states of first tokens, and whether the right token stays the nearest, for docs/numerics.md, section 7.

    python moved_sinks.py --model FOLDER --noise FOLDER [--block 15] [--count 1500] [--looked-for 63] CHECKPOINTS...

The checkpoints are those of quantised_weights.py and merged_adapter.py. --noise is one of weights rounded to INT4: distances are
measured in the metric of its noise. Needs torch and transformers.
"""

import argparse
import pathlib

import numpy as np
import torch
from transformers import AutoModelForCausalLM

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--model", required=True)
parser.add_argument("--noise", required=True)
parser.add_argument("--block", type=int, default=15)
parser.add_argument("--count", type=int, default=1500)
parser.add_argument("--looked-for", type=int, default=63)
parser.add_argument("checkpoints", nargs="+", type=pathlib.Path)
args = parser.parse_args()

torch.set_num_threads(1)
draw = np.random.default_rng(1)


def first_states(folder):
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    model.model.layers = model.model.layers[: args.block]
    states = []
    # The last of transformers is normalised.
    model.model.norm.register_forward_hook(lambda module, inputs, output: states.append(inputs[0][:, 0]))
    with torch.no_grad():
        for part in torch.tensor(ids).split(500):
            model.model(part[:, None])
    return torch.cat(states).double().numpy()


def metric(noise):
    """The square root of d (S + d I)^-1."""
    ridge = 0.1 * np.median((noise**2).mean(0))
    return np.linalg.cholesky(np.linalg.inv(np.eye(noise.shape[1]) + noise.T @ noise / len(noise) / ridge))


vocab_size = AutoModelForCausalLM.from_pretrained(args.model).config.vocab_size
ids = draw.choice(vocab_size, args.count, replace=False)
full = first_states(args.model)
norms = np.linalg.norm(full, axis=1)
damped = metric(((first_states(args.noise) - full) / norms[:, None])[:320])
wanted = draw.choice(args.count, args.looked_for, replace=False)
for folder in args.checkpoints:
    states = first_states(folder)
    moved = states - full
    shared = np.sum(moved.mean(0) ** 2) / np.sum(moved**2, axis=1).mean()
    nearest = []
    for change in (damped, np.eye(len(damped))):
        a, b = states[wanted] @ change, full @ change
        squares = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
        nearest.append((squares.argmin(1) == wanted).sum())
    share = np.median(np.linalg.norm(moved, axis=1) / norms)
    print(f"{folder.name}: moved by {share:.4f}, shared {shared:.2f}, nearest {nearest[0]} of {len(wanted)}, in L2 {nearest[1]}", flush=True)
