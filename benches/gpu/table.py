"""The table of benches/gpu/run.sh.

    python table.py write OUT DEVICE          # results.md and results.json from the steps and rows in OUT
    python table.py scan LABEL INVERSION      # the row of an inversion that `inject invert --json` wrote
"""

import json
import sys
from pathlib import Path


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def scan(label, path):
    inversion = json.loads(Path(path).read_text())
    recovered = inversion["recovered"]
    positions, seconds = recovered["positions"], recovered["seconds"]
    certain = sum(position["verdict"] == "certain" for position in positions)
    row = {
        "row": f"exhaustive/{label}/{len(positions)} tokens, {certain} certain",
        "ms": 1e3 * seconds,
        "calls": 1,
        "flop": 1e9 * inversion["gflop_per_second"] * seconds,
    }
    print(json.dumps(row))


def write(out, device):
    steps = lines(out / "steps.jsonl")
    ours = {row["row"]: row for row in lines(out / "rows-ours.jsonl")}
    theirs = {row["row"]: row for row in lines(out / "rows-peer.jsonl")}
    (out / "results.json").write_text(
        json.dumps({"device": device, "steps": steps, "ours": list(ours.values()), "peer": list(theirs.values())}, indent=1) + "\n"
    )
    text = f"Device: {device}.\n\n| step | result | seconds | limit |\n|---|---|---|---|\n"
    results = {0: "passed", 143: "cut off", 137: "cut off"}
    for step in steps:
        status = step["status"]
        result = results.get(status, status if isinstance(status, str) else f"failed with status {status}")
        text += f"| {step['step']} | {result} | {step.get('seconds', '')} | {step.get('most', '')} |\n"
    text += "\n| row | ours, ms | TFLOP/s | PyTorch, ms | TFLOP/s | times as fast |\n|---|---|---|---|---|---|\n"
    for label in list(ours) + [label for label in theirs if label not in ours]:
        cells = []
        for row in (ours.get(label), theirs.get(label)):
            cells += [f"{row['ms']:.3f}", f"{row['flop'] / row['ms'] / 1e9:.2f}"] if row else ["", ""]
        both = label in ours and label in theirs
        cells.append(f"{theirs[label]['ms'] / ours[label]['ms']:.2f}" if both else "")
        text += f"| {label} | {' | '.join(cells)} |\n"
    (out / "results.md").write_text(text)
    print(text)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["scan", label, path]:
            scan(label, path)
        case ["write", out, device]:
            write(Path(out), device)
        case _:
            sys.exit(__doc__)
