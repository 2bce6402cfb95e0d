"""Prints how far other weights move states, as a share of their norm, for the measurement in results/producers.md.

    python moved_states.py --model FOLDER STATES...

Each folder of states is one of producer_states.py, of a model with other weights. The states of the same tokens are computed in f32 with
the weights of --model. Needs torch, transformers and safetensors.
"""

import argparse
import pathlib

import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--model", required=True)
parser.add_argument("states", nargs="+", type=pathlib.Path)
args = parser.parse_args()

torch.set_num_threads(1)
model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
for folder in args.states:
    first, later = {}, {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as opened:
            states, taps = opened.get_tensor("states").float(), opened.metadata()["taps"].split(",")
            ids = opened.get_tensor("token_ids")
        with torch.no_grad():
            hidden = model(ids[None], output_hidden_states=True).hidden_states
        for column, tap in enumerate(taps):
            # The last of transformers is normalised, so the state of the last block is not among them.
            exact = hidden[-1 if tap == "final-norm" else int(tap.removeprefix("block-"))][0]
            norms = exact.norm(dim=1)
            moved = (states[:, column] - exact).norm(dim=1) / norms
            # Later attention sinks are like first states.
            sinks = norms > 8 * norms.median()
            sinks[0] = True
            first.setdefault(tap, []).append(moved[0].item())
            later.setdefault(tap, []).append(moved[~sinks])
    for tap in first:
        found = torch.cat(later[tap])
        firsts = ", ".join(f"{value:.4f}" for value in first[tap])
        print(f"{folder.name} {tap}: first {firsts}; later median {found.median():.3f}, largest {found.max():.3f}")
