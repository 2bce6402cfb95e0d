#!/usr/bin/env python3
"""PyTorch at the rows of benches/gpu/bench.rs, on a GPU or on the CPU.

    python3 benches/peers/gpu.py --shapes gpt2,gemma-3-1b --formats f32,tf32,bf16 --questions forward,step
    python3 benches/peers/gpu.py --questions neighbours --rows 100000 --width 768

A shape is a name in crates/inject-models/shapes, or the path of a config.json. Weights are random, drawn on the device. Attention
is `sdpa`, the default of transformers. `tf32` computes in f32 and lets matrix products round their inputs to TF32. Each row is a
line of JSON with the label of the Rust benchmark, except `gemm`, the rate of a large product, which it does not have.

`neighbours` is a brute force search: blocks of distances by one matrix product, the least of each row. Its distances have the
error of f32 (or TF32), where those of inject are decided in f64.

Needs torch and transformers.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, DynamicCache

SHAPES = Path(__file__).resolve().parents[2] / "crates/inject-models/shapes"
DTYPES = {"f32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}
PROMPT = 512


class Rows:
    def __init__(self, device, seconds):
        self.device, self.seconds = device, seconds

    def wait(self):
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def row(self, label, flop, call, once=False):
        """Times a call until some time has passed, after two calls to warm up."""
        for _ in range(0 if once and self.device.type == "cpu" else 2):
            call()
        self.wait()
        times = []
        while not times or (sum(times) < self.seconds and not once):
            begin = time.perf_counter()
            call()
            self.wait()
            times.append(time.perf_counter() - begin)
        row = {"row": label, "ms": 1e3 * statistics.median(times), "calls": len(times), "flop": flop}
        print(json.dumps(row), flush=True)


def random_model(shape, dtype, device):
    path = Path(shape) if shape.endswith(".json") else SHAPES / f"{shape}.json"
    config = AutoConfig.for_model(**json.loads(path.read_text()))
    torch.manual_seed(1)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(config, attn_implementation="sdpa", dtype=dtype).eval()


def flop_per_token(model):
    """Two for each weight of the blocks' matrix products, as `DecoderConfig::flops_per_token`."""
    base = model.base_model
    blocks = base.h if hasattr(base, "h") else base.layers
    return 2 * sum(p.numel() for p in blocks.parameters() if p.dim() == 2)


def ids(count, model, device):
    return (torch.arange(count, device=device) * 7919 % model.config.vocab_size)[None]


def forward(rows, label, model):
    tokens = ids(PROMPT, model, rows.device)
    rows.row(f"forward/{label}/1x{PROMPT}", PROMPT * flop_per_token(model), lambda: model.base_model(tokens, use_cache=False))


def step(rows, label, model):
    cache = DynamicCache(config=model.config)
    model(ids(PROMPT, model, rows.device), past_key_values=cache, logits_to_keep=1)
    token = torch.tensor([[11]], device=rows.device)
    # A layer with a window keeps only the window, and cannot forget a token.
    forgets = all(type(layer).__name__ == "DynamicLayer" for layer in cache.layers)

    def one_more():
        model(token, past_key_values=cache)
        if forgets:
            cache.crop(-1)

    head = 2 * model.get_output_embeddings().weight.numel()
    rows.row(f"step/{label}/{PROMPT}", flop_per_token(model) + head, one_more)


def neighbours(rows, format, count, width):
    torch.manual_seed(1)
    states = torch.randn(count, width, device=rows.device)
    squares = (states * states).sum(1)

    def nearest():
        least, at = [], []
        for begin in range(0, count, 8192):
            part = states[begin : begin + 8192]
            distances = squares - 2 * part @ states.T
            own = torch.arange(len(part), device=rows.device)
            distances[own, begin + own] = torch.inf
            found = distances.min(1)
            least.append(found.values)
            at.append(found.indices)
        return torch.cat(least) + squares, torch.cat(at)

    for question in ("nearest", "closest"):
        label = f"neighbours/{count}x{width}/{question}" + ("" if format == "f32" else f"/{format}")
        rows.row(label, 2 * count * count * width, lambda: nearest()[0].min(), once=True)


def gemm(rows, format, size):
    x = torch.randn(size, size, device=rows.device, dtype=DTYPES[format])
    rows.row(f"gemm/{format}/{size}", 2 * size**3, lambda: x @ x)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--shapes", default="gpt2")
    parser.add_argument("--formats", default="f32")
    parser.add_argument("--questions", default="forward,step")
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--product", type=int, default=8192, help="the size of the product of `gemm`")
    options = parser.parse_args()
    questions = options.questions.split(",")
    rows = Rows(torch.device(options.device), options.seconds)
    with torch.inference_mode():
        for format in options.formats.split(","):
            torch.backends.cuda.matmul.allow_tf32 = format == "tf32"
            if "gemm" in questions:
                gemm(rows, format, options.product)
            if "neighbours" in questions and format in ("f32", "tf32"):
                neighbours(rows, format, options.rows, options.width)
            asked = [question for question in ("forward", "step") if question in questions]
            for shape in options.shapes.split(",") if asked else []:
                model = random_model(shape, DTYPES[format], rows.device)
                name = Path(shape).stem if shape.endswith(".json") else shape
                for question in asked:
                    {"forward": forward, "step": step}[question](rows, f"{name}/{format}", model)
                del model


if __name__ == "__main__":
    main()
