#!/usr/bin/env python3
"""Tests run.sh with programs that fail in every way.

    python3 benches/gpu/rehearse.py

The programs are shell scripts that panic, hang, are killed, print without end or are not there. The results of the other steps
must stand in the table, and so must those of a run that is itself killed. Archives that cannot be unpacked end no run either.
"""

import json
import os
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import rehearse_kernels
import run
from expected import expect

HERE = Path(__file__).resolve().parent
ROW = '{"row": "%s", "ms": 2.0, "calls": 3, "flop": 4e9}'

BEFORE_THE_HANG = ["gemm/f32/8", "scan/gpt2/f32/position 1 of 20"]

# Each would end the run if it were believed.
ODD = "\n".join([
    '{"step": 3}', '{"step": "x", "limit": null}', '{"ended": ["x"], "status": {}}', '{"ended": "probe"}', "[" * 100_000,
    '{"a":' * 100_000, '{"row": "r", "ms": 0.0, "calls": 3, "flop": 1.0}', '{"row": "r", "ms": "fast", "flop": 1.0}',
    '{"row": ["r"], "ms": 1.0, "flop": 1.0}', '{"row": "r", "ms": NaN, "flop": 1.0}', '{"row": "r", "ms": 1' + "0" * 400 + '}',
    '{"check": "c", "holds": null, "found": 1}', '{"check": 3, "holds": true, "found": 1}',
    '{"row": "without operations", "ms": 1.0, "calls": 3, "flop": null}',
    '{"row": "half a letter \\ud800 | and a line", "ms": 1.0, "calls": 3, "flop": 1e9}',
])

PROGRAMS = {
    # Ends as it should, after lines that look like rows, checks and steps and are none.
    "inject": f"echo '{ODD}'; echo recovered",
    "states-tests": "echo ok",
    # Panics.
    "models-tests": "echo 'thread main panicked at the driver' >&2; exit 101",
    # One program with all the other ways to fail.
    "gpu-bench": f"""
case "$*" in
    # Hangs in the middle of its rows with a child, and neither listens to SIGTERM.
    *scan*) {"; ".join(f"echo '{ROW % label}'" for label in BEFORE_THE_HANG)}; trap '' TERM; (trap '' TERM; sleep 1000) & sleep 1000;;
    *parity*) echo '{{"check": "parity/f32/gpt2/golden", "holds": true, "found": "within"}}';;
    *memory*) echo '{{"check": "memory", "holds": false, "found": "grows"}}';;
    # Half a line, and bytes that are not text.
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


def every_way_to_fail(folder, out):
    status = start(folder, out, STEPS=STEPS, STEP_LIMIT="3").wait()
    expect(status, 1, "status of a run with failures")
    steps = results(out)
    statuses = {name: step["status"] for name, step in steps.items() if name != "probe"}
    expect(
        statuses,
        {
            "parity": 0,
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
    rows = [row["row"] for name, step in steps.items() if name != "probe" for row in step["rows"]]
    expect(rows, [*BEFORE_THE_HANG, "before the kill", "a whole line"], "rows")
    table = (out / "results.md").read_text()
    for text in ("| memory | NO | grows |", "| parity/f32/gpt2/golden | yes | within |", "| models | failed with status 101 |", "| ours | killed by signal 9 |", "| before the kill | 2.000 | 2 |",
                 "| scan/gpt2/f32/one position | 2 | 2 | 100 % |", "| without operations | 1.000 |  |"):
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
    while not (out / "log.txt").exists() or BEFORE_THE_HANG[-1] not in (out / "log.txt").read_text():
        if time.monotonic() > deadline:
            sys.exit("the run did not reach the step that hangs")
        time.sleep(0.1)
    # As the machine does it: everything at once.
    os.killpg(run.pid, way)
    run.wait()
    subprocess.run([sys.executable, HERE / "table.py", out, "flex"], check=True, stdout=subprocess.DEVNULL)
    steps = results(out)
    expect(steps["parity"]["status"], 0, f"{way.name}: the step before")
    expect(steps["scan"]["status"], "cut off with the run", f"{way.name}: the step in progress")
    expect([row["row"] for row in steps["scan"]["rows"]], BEFORE_THE_HANG, f"{way.name}: its rows")


def a_second_run_adds_to_the_first(folder, out):
    start(folder, out, STEPS="states units", STEP_LIMIT="3").wait()
    before = results(out)
    start(folder, out, STEPS="neighbours units", STEP_LIMIT="3").wait()
    after = results(out)
    expect(sorted(after), ["neighbours", "states", "units"], "steps of two runs")
    expect(after["states"], before["states"], "a step of the first run")
    # There is no time for any step.
    start(folder, out, STEPS="states models", LIMIT="1").wait()
    expect(results(out)["states"], before["states"], "a step that ran once and was not begun again")
    expect(results(out)["models"]["status"], "not begun", "a step that was never begun")
    environment = dict(os.environ, OUT=str(out), CARRY=str(folder), PYTHON=sys.executable)
    ran = subprocess.run([HERE / "run.sh", "--rehearse", "wgpu"], env=environment, capture_output=True, text=True)
    expect((ran.returncode, "flex" in ran.stderr), (1, True), "a run on another device into the same folder")


def an_unknown_step_is_an_error(folder, out):
    environment = dict(os.environ, OUT=str(out), CARRY=str(folder), PYTHON=sys.executable, STEPS="probe scna")
    ran = subprocess.run([HERE / "run.sh", "--rehearse", "flex"], env=environment, capture_output=True, text=True)
    expect((ran.returncode, "scna" in ran.stderr, "scan" in ran.stderr, out.exists()), (1, True, True, False), "an unknown step")


def archives(folder, work):
    """Programs in an archive: in a good one, in one that was cut off, and where the place of the fixtures cannot be linked."""
    (work / "in the way").write_text("")
    (work / "nowhere").symlink_to(work / "gone")
    roots = {"new": work / "deep/root", "dangling": work / "nowhere", "blocked": work / "in the way/root", "odd": "\0", "none": None}
    for name, root in roots.items():
        carry = work / f"carry-{name}"
        carry.mkdir()
        with tarfile.open(carry / "programs.tar.xz", "w:xz") as tar:
            for program in folder.iterdir():
                tar.add(program, program.name)
            if root is not None:
                (work / "root.txt").write_text(f"{root}\n")
                tar.add(work / "root.txt", "root.txt")
        out = work / f"out-{name}"
        expect(start(carry, out, STEPS="states").wait(), 0, f"{name}: status of a run from an archive")
        noted = "no link to the fixtures" in (out / "log.txt").read_text()
        expect(noted, name in ("blocked", "odd", "none"), f"{name}: noted")
        if name in ("new", "dangling"):
            expect(root.resolve(), HERE.parents[1], f"{name}: the fixtures")
    archive = work / "carry-new/programs.tar.xz"
    for content in (archive.read_bytes()[:100], b"", b"no archive"):
        archive.write_bytes(content)
        out = work / f"out-of-{len(content)}-bytes"
        expect(start(archive.parent, out, STEPS="states").wait(), 1, f"status with an archive of {len(content)} bytes")
        expect(results(out)["states"]["status"], "not started", "its step")
        expect("is not whole" in (out / "log.txt").read_text(), True, "its archive is named")


def tests_in_an_archive_of_their_own(folder, work):
    """build.sh packs two archives. If that of the tests is damaged, the steps without them run."""
    carry = work / "carry-two"
    carry.mkdir()
    (work / "root.txt").write_text(f"{HERE.parents[1]}\n")
    tests = ("states-tests", "sipit-tests", "models-unit-tests")
    with tarfile.open(carry / "programs.tar.xz", "w:xz") as tar:
        tar.add(work / "root.txt", "root.txt")
        for program in folder.iterdir():
            if program.name not in tests:
                tar.add(program, program.name)
    with tarfile.open(carry / "tests.tar.xz", "w:xz") as tar:
        for name in tests:
            tar.add(folder / name, name)
    expect(start(carry, work / "two", STEPS="parity states").wait(), 0, "status with two archives")
    whole = (carry / "tests.tar.xz").read_bytes()
    (carry / "tests.tar.xz").write_bytes(whole[:100])
    expect(start(carry, work / "half", STEPS="parity states").wait(), 1, "status with a damaged archive of tests")
    statuses = {name: step["status"] for name, step in results(work / "half").items()}
    expect(statuses, {"parity": 0, "states": "not started"}, "its steps")
    (carry / "tests.tar.xz").unlink()
    start(carry, work / "one", STEPS="parity states").wait()
    statuses = {name: step["status"] for name, step in results(work / "one").items()}
    expect(statuses, {"parity": 0, "states": "not started"}, "steps without the archive of tests")


def every_step_before_the_tests_has_its_time():
    names = [step.name for step in run.steps("cuda", run.REAL)]
    asked = names[: names.index("parity-f64")]
    expect(set(names) - set(asked), {"parity-f64", "models", "sipit", "units", "collisions", "states"}, "steps of tests, which come last")
    # What is left is for unpacking, and for ending programs that hang.
    expect(sum(step.limit for step in run.steps("cuda", run.REAL)[: len(asked)]) <= run.LIMIT - 20, True, f"{run.LIMIT} s are enough for {asked}")


def main():
    every_step_before_the_tests_has_its_time()
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        folder = work / "programs"
        folder.mkdir()
        programs(folder)
        every_way_to_fail(folder, work / "failures")
        nothing_is_left_running(folder)
        a_second_run_adds_to_the_first(folder, work / "twice")
        nothing_is_left_running(folder)
        an_unknown_step_is_an_error(folder, work / "unknown")
        archives(folder, work)
        tests_in_an_archive_of_their_own(folder, work)
        rehearse_kernels.cuda_is_found(work)
        rehearse_kernels.archives_of_kernels(work / "kernels")
        rehearse_kernels.compiling(work / "compiling")
        a_run_that_is_killed(folder, work / "terminated", signal.SIGTERM)
        nothing_is_left_running(folder)
        a_run_that_is_killed(folder, work / "killed", signal.SIGKILL)
        # The session of the step outlives a run that is killed. A machine that is given back ends it.
        for process in running(folder):
            os.kill(process, signal.SIGKILL)
    print("everything that had finished was kept")


if __name__ == "__main__":
    main()
