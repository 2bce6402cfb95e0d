#!/usr/bin/env python3
"""Measures how the share of pairs that bounds do not exclude changes with the number of rows, and extrapolates it.

    python3 pruning.py PROGRAM FOLDER [COUNT ...]          counts: 10000 30000 100000 without any
    python3 pruning.py --store STORE BENCHMARK [COUNT ...]

The first form runs `PROGRAM study collisions --minima-only` on that many generated prompts of the model in the program: the states
of their last positions. A run whose results are in FOLDER already is not repeated. The second form searches the first rows of a
store, such as that of `inject extract --positions all`. BENCHMARK is the executable of benches/distances.rs. Either prints
tables in Markdown, and the fit with its error.

The share of the closest-pair search at one tap is s(n) = computed / pairs. A power law s(n) = c n^b is fitted to log s at the
counts by least squares. The error of an extrapolated value is that of the fit, with the scatter about the line as the error
of each point: two standard errors of a prediction, a factor up and down. With three counts there is one degree of freedom, so
the factor is a rough measure and no confidence interval.
"""

import json
import math
import os
import pathlib
import subprocess
import sys
import time

TAPS = ["block-1", "block-3", "block-5", "final-norm"]
EXTRAPOLATED = [1e6, 1e8, 1e9]


def of_prompts(program, folder, counts):
    """The share of each tap and count, and the text of its cell."""
    found = {}
    for count in counts:
        out = folder / str(count)
        if not (out / "corpus.json").exists():
            begin = time.time()
            command = [program, "study", "collisions", "--minima-only", "--count", str(count), "--taps", ",".join(TAPS)]
            subprocess.run(command + ["--closest", "1", "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
            print(f"{count} prompts: {time.time() - begin:.0f} s in all", file=sys.stderr)
        for tap in json.loads((out / "corpus.json").read_text())["taps"]:
            computed, pairs = tap["distances"]["computed"], tap["distances"]["pairs"]
            found[tap["tap"], count] = computed / pairs, f"{computed:,} ({computed / pairs:.1e})"
    return found


def of_rows(store, benchmark, counts):
    """As `of_prompts`. A cell has the seconds of the search too."""
    manifest = json.loads((store / "manifest.json").read_text())
    found = {}
    for tap in TAPS:
        rows = ",".join(map(str, counts))
        env = os.environ | {"INJECT_STORE": str(store), "INJECT_TAP": tap, "INJECT_ROWS": rows}
        width = manifest["spec"]["d_model"]
        labels = [f"states-{tap}/{count}x{width}/closest" for count in counts]
        lines = subprocess.run([benchmark, *labels], env=env, check=True, stdout=subprocess.PIPE, text=True).stdout
        for line in lines.splitlines():
            label, seconds, share = [cell.strip() for cell in line.split("|")[1:4]]
            if label.startswith("distances/"):
                count = int(label.split("/")[2].split("x")[0])
                found[tap, count] = float(share), f"{float(share):.1e}, {float(seconds):.1f} s"
    return found


def fit(points):
    """The slope and value of a line through (x, y), and the standard error of a prediction at x."""
    n = len(points)
    x, y = [p[0] for p in points], [p[1] for p in points]
    mean_x, mean_y = sum(x) / n, sum(y) / n
    spread = sum((v - mean_x) ** 2 for v in x)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in points) / spread
    at = lambda v: mean_y + slope * (v - mean_x)
    scatter = sum((b - at(a)) ** 2 for a, b in points) / max(n - 2, 1)
    error = lambda v: math.sqrt(scatter * (1 + 1 / n + (v - mean_x) ** 2 / spread))
    return slope, at, error


def main():
    arguments = sys.argv[1:]
    stored = arguments[0] == "--store"
    first, second, *counts = arguments[1:] if stored else arguments
    counts = [int(count) for count in counts] or [10_000, 30_000, 100_000]
    measured = of_rows(pathlib.Path(first), second, counts) if stored else of_prompts(first, pathlib.Path(second), counts)
    print("| tap | " + " | ".join(f"{count:,}" for count in counts) + " | slope | c |")
    print("|---" * (3 + len(counts)) + "|")
    beyond = []
    for tap in TAPS:
        points = [(math.log(count), math.log(measured[tap, count][0])) for count in counts]
        slope, at, error = fit(points)
        cells = [measured[tap, count][1] for count in counts]
        print(f"| {tap} | " + " | ".join(cells) + f" | {slope:.2f} | {math.exp(at(0)):.2g} |")
        logs = [math.log(n) for n in EXTRAPOLATED]
        values = [f"{math.exp(at(x)):.0e} (x/÷ {math.exp(2 * error(x)):.1f})" for x in logs]
        beyond.append(f"| {tap} | " + " | ".join(values) + " |")
    print("\n| tap | " + " | ".join(f"at {n:.0e}" for n in EXTRAPOLATED) + " |")
    print("|---" * (1 + len(EXTRAPOLATED)) + "|\n" + "\n".join(beyond))


if __name__ == "__main__":
    main()
