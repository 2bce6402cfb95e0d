#!/usr/bin/env python3
"""Tests run.sh with programs that fail in every way.

    python3 benches/gpu/rehearse.py

The programs are shell scripts that panic, hang, are killed, print without end or are not there. The results of the other steps
must stand in the table, and so must those of a run that is itself killed.
"""

import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROW = '{"row": "%s", "ms": 2.0, "calls": 3, "flop": 4e9}'

PROGRAMS = {
    # Ends as it should.
    "inject": "echo recovered",
    "states-tests": "echo ok",
    # Panics.
    "models-tests": "echo 'thread main panicked at the driver' >&2; exit 101",
    # One program with all the other ways to fail.
    "gpu-bench": f"""
case "$*" in
    # Hangs with a child, and neither listens to SIGTERM.
    *scan*) echo '{ROW % "before the hang"}'; trap '' TERM; (trap '' TERM; sleep 1000) & sleep 1000;;
    *memory*) echo '{{"check": "memory", "holds": false, "found": "grows"}}';;
    # Half a line, and bytes that are no text.
    *neighbours*) printf '{ROW % "a whole line"}\\n\\377\\376\\n{{"row": "half a li';;
    # Dies as a program that the system kills for its memory.
    *) echo '{ROW % "before the kill"}'; kill -KILL $$;;
esac""",
    # Prints without end.
    "sipit-tests": "yes aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    # Leaves a child behind.
    "models-unit-tests": "sleep 1000 & echo left; exit 0",
    # collisions-tests and sipit-unit-tests are not there.
}
STEPS = "probe parity scan ours models memory sipit neighbours units collisions states"


def programs(folder):
    for name, text in PROGRAMS.items():
        path = folder / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)


def start(folder, out, **variables):
    environment = dict(os.environ, OUT=str(out), CARRY=str(folder), PYTHON=sys.executable, **variables)
    return subprocess.Popen(
        [HERE / "run.sh", "--rehearse", "flex"], env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )


def results(out):
    return {step["step"]: step for step in json.loads((out / "results.json").read_text())["steps"]}


def expect(found, expected, what):
    if found != expected:
        sys.exit(f"{what}: expected {expected!r}, found {found!r}")
    print(f"{what}: {found!r}")


def every_way_to_fail(folder, out):
    status = start(folder, out, STEPS=STEPS, STEP_LIMIT="3").wait()
    expect(status, 1, "status of a run with failures")
    steps = results(out)
    statuses = {name: step["status"] for name, step in steps.items() if name != "probe"}
    expect(
        statuses,
        {
            "parity": 101,
            "scan": "cut off",
            "ours": -9,
            "models": 101,
            "memory": 0,
            "sipit": statuses["sipit"],
            "neighbours": 0,
            "units": "not started",
            "collisions": "not started",
            "states": 0,
        },
        "statuses",
    )
    expect(statuses["sipit"] in ("cut off", "printed too much"), True, "a step that prints without end is stopped")
    rows = [row["row"] for step in steps.values() for row in step["rows"]]
    expect(rows, ["before the hang", "before the kill", "a whole line"], "rows")
    table = (out / "results.md").read_text()
    for text in ("| memory | NO | grows |", "| parity | failed with status 101 |", "| ours | killed by signal 9 |", "| before the kill | 2.000 | 2 |"):
        expect(text in table, True, text)
    files = sorted(path.name for path in out.iterdir())
    expect(files, ["log.txt", "results.json", "results.md"], "files")
    expect(sum(path.stat().st_size for path in out.iterdir()) < 8 << 20, True, "they are small")


def running(folder):
    """The processes that were started for these programs: all have the folder in their environment."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.fsencode(folder) in (entry / "environ").read_bytes():
                    yield int(entry.name)
            except OSError:
                pass


def nothing_is_left_running(folder):
    expect(list(running(folder)), [], "programs left running")


def a_run_that_is_killed(folder, out, way):
    run = start(folder, out, STEPS="parity scan")
    deadline = time.monotonic() + 20
    while not (out / "log.txt").exists() or "before the hang" not in (out / "log.txt").read_text():
        if time.monotonic() > deadline:
            sys.exit("the run did not reach the step that hangs")
        time.sleep(0.1)
    # As the machine does it: everything at once.
    os.killpg(run.pid, way)
    run.wait()
    subprocess.run([sys.executable, HERE / "table.py", out, "flex"], check=True, stdout=subprocess.DEVNULL)
    steps = results(out)
    expect(steps["parity"]["status"], 101, f"{way.name}: the step before")
    expect(steps["scan"]["status"], "cut off with the run", f"{way.name}: the step in progress")
    expect([row["row"] for row in steps["scan"]["rows"]], ["before the hang"], f"{way.name}: its rows")


def main():
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        folder = work / "programs"
        folder.mkdir()
        programs(folder)
        every_way_to_fail(folder, work / "failures")
        nothing_is_left_running(folder)
        a_run_that_is_killed(folder, work / "terminated", signal.SIGTERM)
        nothing_is_left_running(folder)
        a_run_that_is_killed(folder, work / "killed", signal.SIGKILL)
        # The session of the step outlives a run that is killed. A machine that is given back ends it.
        for process in running(folder):
            os.kill(process, signal.SIGKILL)
    print("everything that had finished was kept")


if __name__ == "__main__":
    main()
