#!/usr/bin/env python3
"""Measures how the share of pairs that bounds do not exclude changes with the number of rows, and extrapolates it.

    python3 pruning.py PROGRAM FOLDER [COUNT ...]          counts: 10000 30000 100000 without any
    python3 pruning.py --rows ENGINE PROGRAM FOLDER [COUNT ...]
    python3 pruning.py --bench DISTANCES PROGRAM FOLDER MODEL=TAP ...

The first form runs `PROGRAM study collisions --minima-only` on that many generated prompts of the model in the program: the states
of their last positions. The second form takes the states of all positions of so many prompts, and searches them with
`ENGINE collisions`, where ENGINE is `inject-engine`. It reports seconds and memory too. The third form compares models: it takes the
states of all positions of 8,100 prompts at one tap of each, and searches 12,500 to 300,000 of them with DISTANCES, the program of
benches/distances.rs. MODEL is `bundled`, or what `PROGRAM extract --model` takes. A run whose results are in FOLDER already
is not repeated. Every form prints tables in Markdown, and the fit with its error.

The share of the closest-pair search at one tap is s(n) = computed / pairs. A power law s(n) = c n^b is fitted to log s at the
counts by least squares. The error of an extrapolated value is that of the fit, with the scatter about the line as the error
of each point: the interval that holds a prediction with a probability of 95 %, a factor up and down. It is that of Student's t
with two degrees of freedom less than there are counts, and holds if the power law does.
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
# The prompts whose states are compared between models, and the rows: those of benches/distances.rs, and more.
PROMPTS = 8_100
ROWS = [12_500, 25_000, 50_000, 100_000, 300_000]
# The standard errors of a two-sided interval of 95 %, by the degrees of freedom: the 97.5 % quantile of Student's t
# (NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2).
STUDENT = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306}


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


def of_rows(engine, program, folder, counts):
    """As `of_prompts`, by the number of rows. A cell has the seconds and the memory of the process too."""
    found = {}
    for count in counts:
        states = folder / str(count)
        extract = [program, "extract", "--generate", str(count), "--positions", "all", "--taps", ",".join(TAPS)]
        subprocess.run([*extract, "--out", states], check=True, stdout=subprocess.DEVNULL)
        rows = json.loads((states / "manifest.json").read_text())["row_count"]
        for tap in TAPS:
            out = folder / f"{count}-{tap}"
            measured = out / "measured.json"
            if not measured.exists():
                job = [engine, "collisions", "--tiles", "1", "--closest", "1", "--states", states, "--taps", tap]
                begin = time.time()
                process = subprocess.Popen([*job, "--out", out], stdout=subprocess.DEVNULL)
                _, status, usage = os.wait4(process.pid, 0)
                assert status == 0, f"{count} prompts, {tap}: status {status}"
                measured.write_text(json.dumps({"seconds": time.time() - begin, "kibibytes": usage.ru_maxrss}))
            line = json.loads((out / "corpus.jsonl").read_text().splitlines()[1])["result"]["closest"]
            cost = json.loads(measured.read_text())
            share = line["computed"] / line["decided"]
            found[tap, rows] = share, f"{share:.1e}, {cost['seconds']:.1f} s, {cost['kibibytes'] / 2**20:.1f} GiB"
    return found


def of_models(distances, program, folder, places):
    """As `of_rows`, by the model and its tap. A cell has the number of distances."""
    found = {}
    for place in places:
        model, tap = place.split("=")
        name = f"{pathlib.Path(model).name} {tap}"
        states = folder / name.replace(" ", "-")
        options = [] if model == "bundled" else ["--model", model]
        extract = [program, "extract", *options, "--generate", str(PROMPTS), "--positions", "all", "--taps", tap]
        subprocess.run([*extract, "--out", states], check=True, stdout=subprocess.DEVNULL)
        width = json.loads((states / "manifest.json").read_text())["spec"]["d_model"]
        labels = [f"distances/states-{tap}/{rows}x{width}/closest" for rows in ROWS]
        measured = folder / f"{states.name}.md"
        if not measured.exists():
            environment = os.environ | {"INJECT_STORE": str(states), "INJECT_TAP": tap, "INJECT_ROWS": str(ROWS[-1])}
            search = subprocess.run([distances, *labels], check=True, stdout=subprocess.PIPE, env=environment)
            measured.write_bytes(search.stdout)
        cells = [line.split("|") for line in measured.read_text().splitlines()]
        shares = {cell[1].strip(): float(cell[3]) for cell in cells[2:]}
        for rows, label in zip(ROWS, labels):
            share = shares[label]
            found[name, rows] = share, f"{share * rows * (rows - 1) / 2:,.0f} ({share:.1e})"
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


def tables(measured):
    """Prints what was measured and what follows from it, by the tap and the count."""
    names = list(dict.fromkeys(name for name, _ in measured))
    counts = sorted({count for _, count in measured})
    if len(counts) - 2 not in STUDENT:
        sys.exit(f"{len(counts)} counts: expected 3 to {max(STUDENT) + 2}, for the error of the fit")
    errors = STUDENT[len(counts) - 2]
    print("| tap | " + " | ".join(f"{count:,}" for count in counts) + " | slope | c |")
    print("|---" * (3 + len(counts)) + "|")
    beyond = []
    for name in names:
        points = [(math.log(count), math.log(measured[name, count][0])) for count in counts]
        slope, at, error = fit(points)
        cells = [measured[name, count][1] for count in counts]
        print(f"| {name} | " + " | ".join(cells) + f" | {slope:.2f} | {math.exp(at(0)):.2g} |")
        logs = [math.log(n) for n in EXTRAPOLATED]
        values = [f"{math.exp(at(x)):.0e} (x/÷ {math.exp(errors * error(x)):.1f})" for x in logs]
        beyond.append(f"| {name} | " + " | ".join(values) + " |")
    print("\n| tap | " + " | ".join(f"at {n:.0e}" for n in EXTRAPOLATED) + " |")
    print("|---" * (1 + len(EXTRAPOLATED)) + "|\n" + "\n".join(beyond))


def main():
    arguments = sys.argv[1:]
    match arguments:
        case ["--rows", engine, program, folder, *counts]:
            counts = [int(count) for count in counts] or [260, 780, 2_600, 7_800, 26_000]
            tables(of_rows(engine, program, pathlib.Path(folder), counts))
        case ["--bench", distances, program, folder, *places] if places:
            tables(of_models(distances, program, pathlib.Path(folder), places))
        case [program, folder, *counts] if not program.startswith("--"):
            counts = [int(count) for count in counts] or [10_000, 30_000, 100_000]
            tables(of_prompts(program, pathlib.Path(folder), counts))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
