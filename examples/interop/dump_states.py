"""Writes the hidden states of one prompt, computed by transformers, to a file that `inject invert` reads.

    python dump_states.py --model FOLDER_OR_HUB_ID --text "The cat sat on the mat." --tap block-7 --out states.safetensors
    cargo run --release -- invert --model FOLDER_OR_HUB_ID --states states.safetensors --tap block-7

Needs torch, transformers and, for .safetensors, safetensors; for .npy, numpy.
"""

import argparse
import os

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--model", required=True, help="a checkpoint folder or a Hub id")
parser.add_argument("--text", required=True)
parser.add_argument("--tap", required=True, help="embedding, block-N (N from 1) or final-norm")
parser.add_argument("--out", required=True, help="FILE.safetensors or FILE.npy")
parser.add_argument("--dtype", default="float32", choices=["float32", "float16", "bfloat16"], help="of the file")
parser.add_argument("--compute", default="float32", choices=["float32", "float16", "bfloat16"], help="of the model")
parser.add_argument("--without-ids", action="store_true", help="leave the token ids out of the file")
args = parser.parse_args()

try:
    tokenizer = AutoTokenizer.from_pretrained(args.model)
except (OSError, ValueError):
    # The folder has a tokenizer.json but no tokenizer_config.json, which would name the tokenizer's class.
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=os.path.join(args.model, "tokenizer.json"))
model = AutoModelForCausalLM.from_pretrained(args.model, dtype=getattr(torch, args.compute)).eval()
ids = tokenizer(args.text, return_tensors="pt").input_ids

# The last block's output is not among hidden_states. It is the input of the final norm.
base = model.base_model
norm = base.norm if hasattr(base, "norm") else base.ln_f
before_norm = []
norm.register_forward_hook(lambda module, inputs, output: before_norm.append(inputs[0]))
with torch.no_grad():
    hidden_states = model(ids, output_hidden_states=True).hidden_states

taps = {"embedding": hidden_states[0], "final-norm": hidden_states[-1]}
taps |= {f"block-{i}": states for i, states in enumerate(hidden_states[1:-1], start=1)}
taps[f"block-{len(hidden_states) - 1}"] = before_norm[0]
if args.tap not in taps:
    parser.error(f"--tap is {args.tap}, expected one of {', '.join(taps)}")
states = taps[args.tap][0].to(getattr(torch, args.dtype)).contiguous()  # [tokens, d_model]

if args.out.endswith(".npy"):
    if args.dtype == "bfloat16":
        parser.error("numpy has no bfloat16: write .safetensors")
    import numpy

    numpy.save(args.out, states.numpy())
else:
    from safetensors.torch import save_file

    tensors = {"states": states} if args.without_ids else {"states": states, "token_ids": ids[0]}
    save_file(tensors, args.out, metadata={"tap": args.tap})
print(f"{args.out}: {tuple(states.shape)} {args.dtype} at {args.tap}, ids {ids[0].tolist()}")
