"""The side of transformers of benches/sizes.rs: a checkpoint in the format that it is stored in, computed in that format on the CPU.

    python benches/peers/sizes.py FOLDER

Prints the seconds of loading, of a forward pass over 512 tokens up to the final norm, and the milliseconds of a token after them, with
logits; each the shortest of three, or of one that takes longer than ten seconds. Then the most memory that the process had.

Threads: RAYON_NUM_THREADS if set, otherwise as many as the cores that this process may use.
"""

import os
import sys
import time

import torch
import transformers
from transformers import AutoModelForCausalLM, DynamicCache

PROMPT = 512


def shortest(call):
    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begin)
        if best > 10:
            break
    return best


def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


@torch.inference_mode()
def main():
    threads = int(os.environ.get("RAYON_NUM_THREADS") or len(os.sched_getaffinity(0)))
    torch.set_num_threads(threads)
    folder = sys.argv[1]
    begin = time.perf_counter()
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").eval()
    load = time.perf_counter() - begin
    print(f"transformers {transformers.__version__}, PyTorch {torch.__version__}, {threads} threads, {model.dtype}", flush=True)
    print(f"load {load:.2f} s", flush=True)
    ids = torch.arange(PROMPT)[None] * 7 % model.config.get_text_config().vocab_size
    forward = shortest(lambda: model.base_model(ids, use_cache=False))
    print(f"forward of {PROMPT} tokens {forward:.2f} s", flush=True)
    cache = DynamicCache(config=model.config)
    model(ids, cache=cache, use_cache=True)
    token = torch.tensor([[11]])

    def step():
        model(token, cache=cache, use_cache=True)
        cache.crop(-1)

    step()
    print(f"one step {1e3 * shortest(step):.1f} ms", flush=True)
    print(f"peak {peak() / 1e9:.1f} GB")


main()
