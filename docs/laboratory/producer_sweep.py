"""Inverts the states that producer_states.py wrote, tap by tap, and prints how often each verdict was right.

    python producer_sweep.py --inject inject --model FOLDER --states STATES --work FOLDER [--lens FOLDER] [-- OPTIONS]

The cells are all files times all taps. With `--together` one process inverts all files at a tap, so the model is loaded and the search
learns once. Otherwise each round holds every file at one tap, and every tap of it has all formats, kernels, ways,
kinds and beginnings, so a sweep that is stopped has seen all of them. The same command goes on where it stopped. `--table` prints the
tables of what is there. Everything after `--` goes to `inject invert`.
Needs numpy and safetensors.
"""

import argparse
import collections
import itertools
import json
import pathlib
import subprocess

from safetensors import safe_open

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--inject", default="inject", help="the program")
parser.add_argument("--model", help="a checkpoint folder")
parser.add_argument("--states", required=True, type=pathlib.Path, help="what producer_states.py wrote")
parser.add_argument("--work", required=True, type=pathlib.Path, help="the folder for results and calibrations")
parser.add_argument("--lens", help="a folder of lenses")
parser.add_argument("--taps", help="names, comma-separated [default: those of the files]")
parser.add_argument("--rounds", type=int, help="stop after so many rounds [default: one for each tap]")
parser.add_argument("--together", action="store_true", help="all files of a tap in one round")
parser.add_argument("--table", action="store_true", help="only print the tables")
parser.add_argument("options", nargs="*", help="options of inject invert")
args = parser.parse_args()

FACTORS = ["kind", "number", "beginning", "format", "kernel", "way"]
VALUES = [["prose", "code", "random"], None, ["plain", "bos"], ["bfloat16", "float16", "float32"], ["eager", "sdpa"], ["one", "each"]]

files = sorted(args.states.glob("*.safetensors"))
with safe_open(files[0], "np") as first:
    taps = args.taps.split(",") if args.taps else first.metadata()["taps"].split(",")


def factors(file):
    return dict(zip(FACTORS, file.stem.split("-")))


def group(file):
    """Returns the group of a file. Each of the six has a third of the kinds and half of the other pairs."""
    level = {name: values.index(value) if values else int(value) for (name, value), values in zip(factors(file).items(), VALUES)}
    third = (level["kind"] + level["kernel"] + level["way"] + level["number"]) % 3
    half = (level["format"] + level["kernel"] + level["way"] + level["beginning"]) % 2
    return 2 * third + half


def cells():
    """Yields each tap with the files of a round."""
    if args.together:
        yield from ((tap, tap, files) for tap in taps)
        return
    for turn, (at, tap) in itertools.product(range(args.rounds or 6), enumerate(taps)):
        chosen = [file for file in files if (group(file) + at) % 6 == turn]
        if chosen:
            yield f"{turn}-{tap}", tap, chosen


def invert(name, tap, chosen):
    folder = args.work / name
    folder.mkdir(parents=True, exist_ok=True)
    for file in chosen:
        link = folder / file.name
        if not link.exists():
            link.symlink_to(file.resolve())
    command = [args.inject, "invert", "--model", args.model, "--states", folder, "--tap", tap]
    command += ["--calibrations", args.work / "calibrations", "--out", args.work / f"{name}.jsonl"]
    command += (["--lens", args.lens] if args.lens else []) + args.options
    with open(args.work / f"{name}.log", "a") as log:
        subprocess.run([str(part) for part in command], stdout=log, stderr=log)


class Count:
    """Prompts and positions of some cells."""

    NAMES = ["prompts", "exact", "positions", "right", "verified", "verified wrongly", "certain", "ambiguous", "failed", "open"]
    NAMES += ["candidates a prompt"]

    def __init__(self):
        self.of = collections.Counter()

    def take(self, recovered, truth):
        self.of["prompts"] += 1
        self.of["exact"] += recovered["verified"] and recovered["equals_prompt"]
        self.of["positions"] += len(truth)
        self.of["candidates"] += recovered["candidates_tested"]
        for position, token in itertools.zip_longest(recovered["positions"], truth):
            verdict, right = position["verdict"], position["token_id"] == token
            self.of[verdict] += 1
            self.of["right"] += right
            self.of["verified wrongly"] += verdict in ("verified", "certain") and not right

    def row(self):
        cells = [str(self.of[name]) for name in self.NAMES[:-1]]
        return " | ".join([*cells, f"{self.of['candidates'] / self.of['prompts']:.0f}"])


def results():
    """Yields each recovered prompt with its tap, file and token ids."""
    for name, tap, chosen in cells():
        path = args.work / f"{name}.jsonl"
        lines = path.read_text().splitlines()[1:] if path.exists() else []
        for line in lines:
            record = json.loads(line)
            file = sorted(chosen)[record["prompt"]]
            with safe_open(file, "np") as states:
                truth = states.get_tensor("token_ids").tolist()
            yield tap, file, record["recovered"], truth


def table():
    found = list(results())
    levels = [("all", lambda tap, file: "all"), ("tap", lambda tap, file: tap)]
    levels += [(name, lambda tap, file, name=name: factors(file)[name]) for name in FACTORS if name != "number"]
    print(f"| factor | value | {' | '.join(Count.NAMES)} |\n|{'---|' * (len(Count.NAMES) + 2)}")
    for factor, level in levels:
        counts = collections.defaultdict(Count)
        for tap, file, recovered, truth in found:
            counts[level(tap, file)].take(recovered, truth)
        for value, count in counts.items():
            print(f"| {factor} | {value} | {count.row()} |")
    print("\nNot exact:")
    for tap, file, recovered, truth in found:
        if not (recovered["verified"] and recovered["equals_prompt"]):
            bad = next((p for p, t in zip(recovered["positions"], truth) if p["verdict"] not in ("verified", "certain") or p["token_id"] != t), None)
            short = {key: bad[key] for key in ["position", "verdict", "token_id", "distance", "tolerance", "ratio", "candidates_tested"]} if bad else {}
            print(f"{tap} {file.stem} {recovered['candidates_tested']} candidates: {short}")


if not args.table:
    args.work.mkdir(parents=True, exist_ok=True)
    for cell in cells():
        invert(*cell)
table()
