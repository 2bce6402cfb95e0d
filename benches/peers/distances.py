#!/usr/bin/env python3
"""Measures FAISS on the questions of benches/distances.rs: IndexFlatL2, every row's nearest neighbour among all rows.

    python3 benches/peers/distances.py --states STORE/tap-block-15.safetensors --rows 100000
    python3 benches/peers/distances.py --gaussian --rows 100000 --ours OUT/ours.md

Needs faiss-cpu, numpy and safetensors. `search` is asked for two neighbours, because a row finds itself. FAISS has no
function for the closest pair, so the time of the same search is compared with it. The columns after the times show how
accurate the distances are: each is compared with the one computed directly in float64 from the same two rows. With --ours,
the output of benches/distances.rs, both times are printed.

Threads: RAYON_NUM_THREADS if set, otherwise as many as the cores that this process may use, as rayon does.
"""

import argparse
import os
import re
import time
from pathlib import Path

import faiss
import numpy as np
from safetensors import safe_open

OUR_ROW = re.compile(r"\| (distances/\S+) \| ([\d.]+) \|")


def load(path, rows):
    with safe_open(path, framework="numpy") as file:
        return np.ascontiguousarray(file.get_slice("states")[:rows], dtype=np.float32)


def nearest(states):
    """Returns the seconds, and for each row its nearest other row with the distance that FAISS reports."""
    begin = time.perf_counter()
    index = faiss.IndexFlatL2(states.shape[1])
    index.add(states)
    squared, found = index.search(states, 2)
    seconds = time.perf_counter() - begin
    # If rows are equal, or because of rounding, a row may not be the first in its own list.
    other = (found[:, 0] == np.arange(len(states))).astype(int)
    rows = np.arange(len(states))
    return seconds, found[rows, other], np.sqrt(np.maximum(squared[rows, other], 0))


def exact(states, neighbours, chunk=4096):
    """Returns the distances of the same pairs, computed directly in float64."""
    parts = []
    for begin in range(0, len(states), chunk):
        rows = states[begin : begin + chunk].astype(np.float64)
        parts.append(np.linalg.norm(rows - states[neighbours[begin : begin + chunk]], axis=1))
    return np.concatenate(parts)


def main():
    parser = argparse.ArgumentParser(description="The FAISS side of the benchmark of distances.")
    data = parser.add_mutually_exclusive_group(required=True)
    data.add_argument("--states", type=Path, metavar="FILE", help="a tap file of a store")
    data.add_argument("--gaussian", action="store_true", help="independent normal numbers")
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000])
    parser.add_argument("--width", type=int, default=576, help="width of the normal numbers")
    parser.add_argument("--ours", type=Path, metavar="FILE", help="the output of benches/distances.rs")
    options = parser.parse_args()

    threads = int(os.environ.get("RAYON_NUM_THREADS") or len(os.sched_getaffinity(0)))
    faiss.omp_set_num_threads(threads)
    ours = dict(OUR_ROW.findall(options.ours.read_text())) if options.ours else {}
    print(f"faiss {faiss.__version__}, {threads} threads\n")
    print("| row | FAISS, s | nearest, ours, s | times as fast | closest, ours, s | times as fast "
          "| 0 for more than 0 | off by over 1 % | least reported | it is |\n|---|" + "---|" * 9)
    for rows in options.rows:
        if options.gaussian:
            name = "gaussian"
            states = np.random.default_rng(1).standard_normal((rows, options.width), dtype=np.float32)
        else:
            name = "states-" + options.states.stem.removeprefix("tap-")
            states = load(options.states, rows)
        label = f"distances/{name}/{states.shape[0]}x{states.shape[1]}"
        seconds, neighbours, reported = nearest(states)
        true = exact(states, neighbours)
        cells = [label, f"{seconds:.1f}"]
        for question in ["nearest", "closest"]:
            time_of_ours = float(ours.get(f"{label}/{question}", "nan"))
            cells += [f"{time_of_ours:.2f}", f"{seconds / time_of_ours:.1f}"]
        least = int(np.argmin(reported))
        cells += [
            str(int(np.sum((reported == 0) & (true > 0)))),
            str(int(np.sum(np.abs(reported - true) > 0.01 * true))),
            f"{reported[least]:.6f}",
            f"{true[least]:.6f}",
        ]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
