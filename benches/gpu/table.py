"""The log of run.sh, and the table that is made from it.

    python3 benches/gpu/table.py OUT DEVICE     # makes results.md and results.json anew from OUT/log.txt

Each step stands in the log between two lines of JSON, with everything that it printed between them. A row is a line of JSON with a
time, and a check one with what must hold. A step without an end was cut off with the whole run.
"""

import json
import sys
from pathlib import Path


def begin(log, step, limit):
    line(log, {"step": step, "limit": limit})


def end(log, step, status, seconds):
    line(log, {"ended": step, "status": status, "seconds": round(seconds, 1)})


def line(log, value):
    # What was printed last may lack the end of its line.
    with log.open("ab") as file:
        file.write(b"\n" + json.dumps(value).encode() + b"\n")


def shorten(log, at, kept):
    """Cuts the middle out of what was printed since a place in the log, and leaves so many bytes at its begin and end."""
    size = log.stat().st_size
    if size - at <= 2 * kept:
        return
    with log.open("rb+") as file:
        file.seek(size - kept)
        last = file.read()
        file.seek(at + kept)
        file.truncate()
        file.write(b"\n... %d bytes are left out ...\n" % (size - at - 2 * kept))
        file.write(last)


def values(log):
    """The lines of JSON objects in a log."""
    for text in log.read_bytes().decode(errors="replace").splitlines():
        if text.startswith("{"):
            try:
                value = json.loads(text)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield value


def read(log):
    """The steps in their order, each with its result, its rows and its checks."""
    steps, open_step = {}, None
    for value in values(log):
        if "step" in value:
            open_step = steps.setdefault(value["step"], {"step": value["step"], "limit": value["limit"]})
            open_step |= {"status": "cut off with the run", "rows": [], "checks": []}
        elif "ended" in value:
            step = steps.setdefault(value["ended"], {"step": value["ended"], "rows": [], "checks": []})
            step |= {"status": value["status"], "seconds": value["seconds"]}
            open_step = None
        elif open_step and {"row", "ms", "flop"} <= value.keys():
            open_step["rows"].append(value)
        elif open_step and {"check", "holds", "found"} <= value.keys():
            open_step["checks"].append(value)
    return list(steps.values())


def result(status):
    if status == 0:
        return "passed"
    if isinstance(status, str):
        return status
    return f"failed with status {status}" if status > 0 else f"killed by signal {-status}"


def is_passed(out):
    steps = read(out / "log.txt")
    return all(step["status"] == 0 and all(check["holds"] for check in step["checks"]) for step in steps)


def write(out, device):
    """Writes both files, each in one move, and returns the table."""
    steps = read(out / "log.txt")
    replace(out / "results.json", json.dumps({"device": device, "steps": steps}, indent=1) + "\n")
    text = f"Device: {device}.\n\n| step | result | seconds | limit |\n|---|---|---|---|\n"
    for step in steps:
        text += f"| {step['step']} | {result(step['status'])} | {step.get('seconds', '')} | {step.get('limit', '')} |\n"
    text += "\n| check | holds | found |\n|---|---|---|\n"
    for check in (check for step in steps for check in step["checks"]):
        text += f"| {check['check']} | {'yes' if check['holds'] else 'NO'} | {check['found']} |\n"
    text += "\n| row | ours, ms | TFLOP/s | PyTorch, ms | TFLOP/s | times as fast |\n|---|---|---|---|---|---|\n"
    sides = ({}, {})
    for step in steps:
        side = sides["theirs" in step["step"]]
        side.update((row["row"], row) for row in step["rows"])
    ours, theirs = sides
    for label in list(ours) + [label for label in theirs if label not in ours]:
        cells = []
        for row in (ours.get(label), theirs.get(label)):
            cells += [f"{row['ms']:.3f}", f"{row['flop'] / row['ms'] / 1e9:.3g}"] if row else ["", ""]
        both = label in ours and label in theirs
        cells.append(f"{theirs[label]['ms'] / ours[label]['ms']:.2f}" if both else "")
        text += f"| {label} | {' | '.join(cells)} |\n"
    replace(out / "results.md", text)
    return text


def replace(path, text):
    part = path.with_suffix(".part")
    part.write_text(text)
    part.replace(path)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(write(Path(sys.argv[1]), sys.argv[2]))
