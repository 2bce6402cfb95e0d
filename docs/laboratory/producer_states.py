"""Writes states as programs that compute in 16 bits produce them, for the measurement in results/producers.md.

    python producer_states.py --model FOLDER --out STATES [--count 4] [--tokens 24] [--taps block-1,block-15,final-norm]

Each prompt is computed in each number format, with each attention kernel, in one pass and token by token. All states of one
computation go into one file, `[tokens, taps, d_model]` with the names of the taps and the token ids beside them, as `inject invert` reads
them. Prose and code are windows of this repository's own text; random prompts are drawn uniformly from the vocabulary. With --prompts the
prompts are the lines of a JSON Lines file, `{"token_ids": [...]}` or `{"text": "..."}`.
Needs torch, transformers and safetensors.
"""

import argparse
import json
import pathlib
import random

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--model", required=True, help="a checkpoint folder")
parser.add_argument("--out", required=True, type=pathlib.Path, help="the folder for the files")
parser.add_argument("--count", type=int, default=4, help="prompts of each kind")
parser.add_argument("--tokens", type=int, default=24, help="tokens of each prompt, BOS included")
parser.add_argument("--taps", help="names, comma-separated [default: block-1, quarters of the depth, the last block, final-norm]")
parser.add_argument("--formats", default="bfloat16", help="of float32, bfloat16, float16")
parser.add_argument("--bos", type=int, help="the id of the BOS token, for prompts that begin with it too")
parser.add_argument("--without-bos", action="store_true", help="with --bos: no prompts without it")
parser.add_argument("--kernels", default="eager,sdpa")
parser.add_argument("--ways", default="one,each", help="one pass, or each token by itself")
parser.add_argument("--kinds", default="prose,code,random")
parser.add_argument("--prompts", type=pathlib.Path, help="a JSON Lines file of prompts, in place of --kinds, --count and --tokens")
parser.add_argument("--seed", type=int, default=1)
args = parser.parse_args()

torch.set_num_threads(1)
repository = pathlib.Path(__file__).resolve().parents[2]
tokenizer = PreTrainedTokenizerFast(tokenizer_file=f"{args.model}/tokenizer.json")
depth = AutoConfig.from_pretrained(args.model).num_hidden_layers
quarters = sorted({1, depth // 4, depth // 2, 3 * depth // 4, depth})
taps = args.taps.split(",") if args.taps else [f"block-{i}" for i in quarters] + ["final-norm"]
if all(tap.startswith("block-") for tap in taps):
    depth = max(int(tap.removeprefix("block-")) for tap in taps)  # The blocks above are not computed.
draw = random.Random(args.seed)


def windows(pattern):
    """Returns windows of the repository's files at random positions."""
    files = sorted(str(file) for file in repository.glob(pattern))
    text = "\n".join(pathlib.Path(file).read_text() for file in draw.sample(files, min(12, len(files))))
    ids = tokenizer(text, add_special_tokens=False).input_ids
    while True:
        begin = draw.randrange(len(ids) - args.tokens)
        yield ids[begin : begin + args.tokens]


def at_random():
    while True:
        yield [draw.randrange(len(tokenizer)) for _ in range(args.tokens)]


kinds = {"prose": windows("docs/**/*.md"), "code": windows("crates/*/src/**/*.rs"), "random": at_random()}
if args.prompts:
    lines = [json.loads(line) for line in args.prompts.read_text().splitlines()]
    ids = [line.get("token_ids") or tokenizer(line["text"], add_special_tokens=False).input_ids for line in lines]
    prompts = [("given", f"{number:05}", each) for number, each in enumerate(ids)]
else:
    prompts = [(kind, number, next(kinds[kind])) for kind in args.kinds.split(",") for number in range(args.count)]


def states_of(model, ids, way):
    """Returns the states at every tap, `[tokens, d_model]` each."""
    norm = model.base_model.norm if hasattr(model.base_model, "norm") else model.base_model.ln_f
    before_norm, hidden = [], []
    hook = norm.register_forward_hook(lambda module, inputs, output: before_norm.append(inputs[0][0]))
    with torch.no_grad():
        if way == "one":
            hidden.append(model(torch.tensor([ids]), output_hidden_states=True).hidden_states)
        else:
            cache = None
            for id in ids:
                out = model(torch.tensor([[id]]), past_key_values=cache, use_cache=True, output_hidden_states=True)
                cache = out.past_key_values
                hidden.append(out.hidden_states)
    hook.remove()
    found = {f"block-{i}": torch.cat([states[i][0] for states in hidden]) for i in range(1, depth)}
    found |= {"embedding": torch.cat([states[0][0] for states in hidden]), f"block-{depth}": torch.cat(before_norm)}
    return found | {"final-norm": torch.cat([states[-1][0] for states in hidden])}


args.out.mkdir(parents=True, exist_ok=True)
for format in args.formats.split(","):
    for kernel in args.kernels.split(","):
        options = {"dtype": getattr(torch, format), "attn_implementation": kernel, "num_hidden_layers": depth}
        model = AutoModelForCausalLM.from_pretrained(args.model, **options).eval()
        for kind, number, ids in prompts:
            beginnings = [] if args.without_bos else [("plain", ids)]
            if args.bos is not None:
                beginnings.append(("bos", [args.bos] + ids[:-1]))
            for beginning, ids in beginnings:
                for way in args.ways.split(","):
                    found = states_of(model, ids, way)
                    name = f"{kind}-{number}-{beginning}-{format}-{kernel}-{way}.safetensors"
                    # A coordinate outside the range of f16 is infinite, and everything computed from it is NaN.
                    finite = [tap for tap in taps if not found[tap].isnan().any()]
                    if finite:
                        states = torch.stack([found[tap] for tap in finite], dim=1).contiguous()
                        tensors = {"states": states, "token_ids": torch.tensor(ids)}
                        save_file(tensors, args.out / name, metadata={"taps": ",".join(finite)})
