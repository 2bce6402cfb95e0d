"""The log of run.sh, and the table that is made from it.

    python3 benches/gpu/table.py OUT DEVICE     # makes results.md and results.json anew from OUT/log.txt

Each step stands in the log between two lines of JSON, with everything that it printed between them. A row is a line of JSON with a
time, and a check one with what must hold. Of two with one name in a step the last counts. Other lines of JSON, and those whose values
are not of these kinds, are what a program printed. A step without an end was cut off with the whole run.
"""

import json
import math
import re
import statistics
import sys
from pathlib import Path

NOT_BEGUN = "not begun"


def device_of(log):
    """The device whose steps a log holds, or None."""
    named = (value["device"] for value in values(log) if isinstance(value.get("device"), str))
    return next(named, None)


def begin(log, step, limit, device):
    line(log, {"step": step, "limit": limit, "device": device})


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
            except (ValueError, RecursionError):
                continue
            if isinstance(value, dict):
                yield value


def number(value):
    """A finite number that is not negative, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        value = float(value)
    except OverflowError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def row_of(value):
    """A row with a time, or None. The number of operations may be unknown."""
    ms = number(value.get("ms"))
    if not isinstance(value.get("row"), str) or not ms:
        return None
    return {"row": value["row"], "ms": ms, "calls": number(value.get("calls")), "flop": number(value.get("flop"))}


def check_of(value):
    if not isinstance(value.get("check"), str) or not isinstance(value.get("holds"), bool):
        return None
    return {"check": value["check"], "holds": value["holds"], "found": str(value.get("found", ""))}


def read(log):
    """The steps in their order, each with its result, its rows and its checks. Of a step that ran twice the last run counts."""
    steps, open_step = {}, None
    for value in values(log):
        if isinstance(value.get("step"), str) and number(value.get("limit")) is not None:
            open_step = steps.setdefault(value["step"], {})
            open_step |= {"step": value["step"], "limit": value["limit"], "status": "cut off with the run", "rows": {}, "checks": {}}
            open_step.pop("seconds", None)
        elif isinstance(value.get("ended"), str) and isinstance(value.get("status"), (int, str)):
            name, status = value["ended"], value["status"]
            step = steps.setdefault(name, {"step": name, "status": NOT_BEGUN, "rows": {}, "checks": {}})
            if status != NOT_BEGUN:
                step |= {"status": status, "seconds": number(value.get("seconds"))}
            open_step = None
        elif open_step and (row := row_of(value)):
            open_step["rows"][row["row"]] = row
        elif open_step and (check := check_of(value)):
            open_step["checks"][check["check"]] = check
    for step in steps.values():
        step["rows"], step["checks"] = list(step["rows"].values()), list(step["checks"].values())
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


def rate(row):
    """Operations a second, or None."""
    return row["flop"] / row["ms"] * 1e3 if row and row["flop"] else None


def in_tera(rate):
    return f"{rate / 1e12:.3g}" if rate else ""


def cell(value):
    """A text as the cell of a table."""
    return " ".join(str(value).encode(errors="replace").decode().replace("|", "\\|").split())


def by_side(steps):
    """Our rows and those of PyTorch, by their labels."""
    sides = ({}, {})
    for step in steps:
        side = sides["theirs" in step["step"]]
        side.update((row["row"], row) for row in step["rows"])
    return sides


def with_one_position(rows):
    """The same rows, with one in place of the positions of a scan: their median time, each for the same number of operations."""
    found, positions = {}, {}
    for label, row in rows.items():
        scan, position, _ = label.partition("/position ")
        if position:
            positions.setdefault(scan, []).append(row)
            found.setdefault(f"{scan}/one position", None)
        else:
            found[label] = row
    for scan, of_scan in positions.items():
        # A position that was not tested to the end has fewer operations.
        known = [row for row in of_scan if row["flop"]]
        # The time of the others has compiling and tuning in it.
        known = [row for row in known if not row["row"].endswith("not warmed up")] or known
        label = f"{scan}/one position"
        if not known:
            del found[label]
            continue
        most = max(row["flop"] for row in known)
        ms = statistics.median(row["ms"] * most / row["flop"] for row in known)
        found[label] = {"row": label, "ms": ms, "calls": len(known), "flop": most}
    return found


def matrix_rate(rows, format):
    """The highest measured rate of a large product with the precision of a format. Three products in TF32 make one in F32."""
    rates = []
    for label, row in rows.items():
        if found := re.fullmatch(r"gemm/(\w+)/\d+", label):
            parts = {(format, format): 1, ("tf32", "f32"): 3}.get((found[1], format))
            if parts and rate(row):
                rates.append(rate(row) / parts)
    return max(rates, default=None)


def shares(ours, theirs):
    """The scans, each with its share of the rates of a large product: of ours, and of PyTorch's."""
    text = "\n| scan | TFLOP/s | our product, TFLOP/s | share | PyTorch's product, TFLOP/s | share |\n|---|---|---|---|---|---|\n"
    for label, row in ours.items():
        parts = label.split("/")
        if parts[0] != "scan" or len(parts) < 3 or not rate(row):
            continue
        cells = [cell(label), in_tera(rate(row))]
        for rows in (ours, theirs):
            whole = matrix_rate(rows, parts[2])
            cells += [in_tera(whole), f"{100 * rate(row) / whole:.0f} %" if whole else ""]
        text += f"| {' | '.join(cells)} |\n"
    return text


def write(out, device):
    """Writes both files, each in one move, and returns the table."""
    steps = read(out / "log.txt")
    replace(out / "results.json", json.dumps({"device": device, "steps": steps}, indent=1) + "\n")
    text = f"Device: {device}.\n\n| step | result | seconds | limit |\n|---|---|---|---|\n"
    for step in steps:
        seconds, limit = (step.get(name) for name in ("seconds", "limit"))
        cells = [step["step"], result(step["status"]), "" if seconds is None else seconds, "" if limit is None else limit]
        text += f"| {' | '.join(map(cell, cells))} |\n"
    text += "\n| check | holds | found |\n|---|---|---|\n"
    for check in (check for step in steps for check in step["checks"]):
        text += f"| {cell(check['check'])} | {'yes' if check['holds'] else 'NO'} | {cell(check['found'])} |\n"
    ours, theirs = by_side(steps)
    ours = with_one_position(ours)
    text += shares(ours, theirs)
    text += "\n| row | ours, ms | TFLOP/s | PyTorch, ms | TFLOP/s | times as fast |\n|---|---|---|---|---|---|\n"
    for label in list(ours) + [label for label in theirs if label not in ours]:
        cells = [cell(label)]
        for row in (ours.get(label), theirs.get(label)):
            cells += [f"{row['ms']:.3f}", in_tera(rate(row))] if row else ["", ""]
        both = label in ours and label in theirs
        cells.append(f"{theirs[label]['ms'] / ours[label]['ms']:.2f}" if both else "")
        text += f"| {' | '.join(cells)} |\n"
    replace(out / "results.md", text)
    return text


def replace(path, text):
    part = path.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    print(write(Path(sys.argv[1]), sys.argv[2]))
