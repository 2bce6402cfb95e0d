"""The PyTorch side of the benchmarks: Hugging Face transformers, eager attention, float32, on the CPU.

    pip install torch 'transformers>=5'
    python benches/peers/forward.py > peer.md
    python benches/peers/forward.py --only step --smollm2 FOLDER      # one question; real SmolLM2-135M weights

Prints a Markdown table with the labels of the Rust benchmarks. forward.rs, step.rs and candidates.rs explain the rows.
GFLOP/s counts the same products, by the median. Differences that cannot be avoided:

- `candidates`: the cache of the prefix is repeated for every candidate, as transformers' own beam search does, and the
  model cut off after a block still applies its final norm.
- `step`: a `DynamicCache` grows by concatenation.

Threads: RAYON_NUM_THREADS if set, otherwise as many as the cores that this process may use, as rayon does.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

CONFIGS = Path(__file__).resolve().parents[2] / "crates/inject-models/shapes"

FORWARD = [(1, 64), (8, 64), (1, 512)]
STEP = [64, 512]
PREFIX = 16
CANDIDATES = [64, 512, 2048]
PRODUCTS = [(512, 768, 3072), (512, 576, 3072)]


def gpt2_small(_):
    return random_weights("gpt2")


def smollm2(folder):
    if folder:
        options = {"attn_implementation": "eager", "dtype": torch.float32}
        return AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, **options)
    return random_weights("smollm2-135m")


SHAPES = {"gpt2-small": gpt2_small, "smollm2-135m": smollm2}


def random_weights(shape):
    config = AutoConfig.for_model(**json.loads((CONFIGS / f"{shape}.json").read_text()))
    torch.manual_seed(1)
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)


def blocks(model):
    return model.base_model.h if hasattr(model.base_model, "h") else model.base_model.layers


def flop_per_token(some_blocks):
    """Returns two operations for each weight of the matrix products, like `DecoderConfig::flops_per_token`."""
    return 2 * sum(p.numel() for block in some_blocks for p in block.parameters() if p.dim() == 2)


def ids(batch, positions, model):
    spread = torch.arange(batch * positions) * 7919 % model.config.vocab_size
    return spread.reshape(batch, positions)


def cut_off(model, n_blocks):
    """Keeps only the first blocks."""
    if hasattr(model.base_model, "h"):
        model.base_model.h = model.base_model.h[:n_blocks]
    else:
        model.base_model.layers = model.base_model.layers[:n_blocks]
    model.config.num_hidden_layers = n_blocks


class Table:
    def __init__(self, rounds, seconds):
        self.rounds, self.seconds = rounds, seconds
        print("| row | min, ms | median, ms | GFLOP/s | calls |\n|---|---|---|---|---|", flush=True)

    def row(self, label, flop, call):
        """Times a call repeatedly, after a warm-up call, until both the number of rounds and the seconds are reached."""
        call()
        times = []
        while len(times) < self.rounds or sum(times) < self.seconds:
            begin = time.perf_counter()
            call()
            times.append(time.perf_counter() - begin)
        least, median = min(times), statistics.median(times)
        numbers = f"{least * 1e3:.3f} | {median * 1e3:.3f} | {flop / median / 1e9:.1f} | {len(times)}"
        print(f"| {label} | {numbers} |", flush=True)


def forward(table, name, model):
    for batch, positions in FORWARD:
        tokens = ids(batch, positions, model)
        flop = batch * positions * flop_per_token(blocks(model))
        label = f"forward/{name}/{batch}x{positions}"
        table.row(label, flop, lambda: model.base_model(tokens, use_cache=False))


def step(table, name, model):
    head = model.get_output_embeddings().weight
    flop = flop_per_token(blocks(model)) + 2 * head.numel()
    token = torch.tensor([[11]])
    for length in STEP:
        cache = DynamicCache(config=model.config)
        model(ids(1, length, model), past_key_values=cache)

        def one_more():
            model(token, past_key_values=cache)
            cache.crop(-1)

        table.row(f"step/{name}/{length}", flop, one_more)
        assert cache.get_seq_length() == length


def gemm(table):
    for rows, d_in, d_out in PRODUCTS:
        x, weight = torch.randn(rows, d_in), torch.randn(d_in, d_out)
        table.row(f"gemm/f32/{rows}x{d_in}x{d_out}", 2 * rows * d_in * d_out, lambda: x @ weight)


def candidates(table, name, model):
    """Measures candidates. It truncates the model, so it has to be called last."""
    n_layers = len(blocks(model))
    for n_blocks in (n_layers, n_layers // 2):
        cut_off(model, n_blocks)
        for count in CANDIDATES:
            cache = DynamicCache(config=model.config)
            model.base_model(ids(1, PREFIX, model), past_key_values=cache)
            cache.batch_repeat_interleave(count)
            tokens = ids(count, 1, model)

            def one_more():
                model.base_model(tokens, past_key_values=cache)
                cache.crop(-1)

            flop = count * flop_per_token(blocks(model))
            table.row(f"candidates/{name}/block-{n_blocks}/{count}", flop, one_more)
            assert cache.get_seq_length() == PREFIX


def main():
    parser = argparse.ArgumentParser(description="The PyTorch side of the benchmarks.")
    parser.add_argument("--rounds", type=int, default=10, help="least number of calls for a row")
    parser.add_argument("--seconds", type=float, default=8.0, help="least time for a row")
    parser.add_argument("--only", choices=["forward", "step", "candidates"], help="one question")
    parser.add_argument("--smollm2", metavar="FOLDER", help="checkpoint of SmolLM2-135M instead of random weights")
    options = parser.parse_args()

    threads = int(os.environ.get("RAYON_NUM_THREADS") or len(os.sched_getaffinity(0)))
    torch.set_num_threads(threads)
    versions = f"torch {torch.__version__}, transformers {transformers.__version__}"
    print(f"{versions}, eager attention, float32, {threads} threads\n")

    table = Table(options.rounds, options.seconds)
    questions = {"forward": forward, "step": step, "candidates": candidates}
    asked = [options.only] if options.only else list(questions)
    with torch.inference_mode():
        if "candidates" in asked:
            gemm(table)
        for name, build in SHAPES.items():
            model = build(options.smollm2).eval()
            for question in asked:
                questions[question](table, name, model)


if __name__ == "__main__":
    sys.exit(main())
