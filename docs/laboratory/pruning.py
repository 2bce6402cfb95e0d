#!/usr/bin/env python3
"""Measures how the share of pairs that bounds do not exclude changes with the number of rows, and extrapolates it.

    python3 pruning.py PROGRAM FOLDER [COUNT ...]      counts: 10000 30000 100000 without any

Runs `PROGRAM study collisions --minima-only` on that many generated prompts of the model in the program. A run whose results
are in FOLDER already is not repeated. Prints a table in Markdown, and the fit with its error.

The share of the closest-pair search at one tap is s(n) = computed / pairs. A power law s(n) = c n^b is fitted to log s at the
counts by least squares. The error of an extrapolated value is that of the fit, with the scatter about the line as the error
of each point: two standard errors of a prediction, a factor up and down. With three counts there is one degree of freedom, so
the factor is a rough measure and no confidence interval.
"""

import json
import math
import pathlib
import subprocess
import sys
import time

TAPS = ["block-1", "block-3", "block-5", "final-norm"]
EXTRAPOLATED = [1e6, 1e8, 1e9]


def run(program, folder, count):
    out = folder / str(count)
    result = out / "corpus.json"
    if not result.exists():
        begin = time.time()
        command = [program, "study", "collisions", "--minima-only", "--count", str(count), "--taps", ",".join(TAPS)]
        subprocess.run(command + ["--closest", "1", "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
        print(f"{count} prompts: {time.time() - begin:.0f} s in all", file=sys.stderr)
    taps = json.loads(result.read_text())["taps"]
    return {tap["tap"]: tap["distances"] for tap in taps}


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
    program, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    counts = [int(count) for count in sys.argv[3:]] or [10_000, 30_000, 100_000]
    found = {count: run(program, folder, count) for count in counts}
    heads = [f"{count:,}" for count in counts]
    print("| tap | " + " | ".join(heads) + " | slope | " + " | ".join(f"at {n:.0e}" for n in EXTRAPOLATED) + " |")
    print("|---" * (2 + len(counts) + len(EXTRAPOLATED)) + "|")
    for tap in TAPS:
        shares = [(count, found[count][tap]["computed"] / found[count][tap]["pairs"]) for count in counts]
        slope, at, error = fit([(math.log(count), math.log(share)) for count, share in shares])
        values = [f"{share:.1e}" for _, share in shares]
        beyond = [
            f"{math.exp(at(math.log(n))):.0e} (x/÷ {math.exp(2 * error(math.log(n))):.1f})" for n in EXTRAPOLATED
        ]
        print(f"| {tap} | " + " | ".join(values) + f" | {slope:.2f} | " + " | ".join(beyond) + " |")


if __name__ == "__main__":
    main()
