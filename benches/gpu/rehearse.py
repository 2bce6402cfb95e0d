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

import run

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
    rows = [row["row"] for step in steps.values() for row in step["rows"]][2:]
    expect(rows, [*BEFORE_THE_HANG, "before the kill", "a whole line"], "rows")
    table = (out / "results.md").read_text()
    for text in ("| memory | NO | grows |", "| parity | failed with status 101 |", "| ours | killed by signal 9 |", "| before the kill | 2.000 | 2 |",
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
    expect(steps["parity"]["status"], 101, f"{way.name}: the step before")
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


def cuda_is_found(work):
    """In whole toolkits, and in those of which a part is elsewhere."""
    toolkit, wheel, other = work / "toolkit", work / "wheel", work / "other"
    for home in (toolkit, wheel):
        (home / "include").mkdir(parents=True)
        (home / "include/cuda_fp16.h").write_text("")
    other.mkdir()
    expect(run.cuda([wheel, toolkit])["CUDA_PATH"], str(wheel), "the first of two alike")
    (toolkit / "include/crt").mkdir()
    (toolkit / "include/crt/mma.h").write_text("")
    found = run.cuda([other, wheel, toolkit])
    expect(found["CUDA_PATH"], str(toolkit), "the headers of CUDA")
    folders = found["LD_LIBRARY_PATH"].split(":")
    expect(folders.index(f"{toolkit}/lib64") < folders.index(f"{wheel}/lib"), True, "NVRTC of the toolkit before that of a wheel")
    expect(str(other) in found["LD_LIBRARY_PATH"], False, "a folder without headers")
    expect("CUDA_PATH" in run.cuda([other]), False, "no headers")
    (work / "programs-of-cuda").mkdir()
    (work / "programs-of-cuda/inject").write_text("")
    of_cuda = run.Run(work / "programs-of-cuda", work / "programs-of-cuda", None, "cuda", found)
    for command, expected in (("inject", str(toolkit)), ("python3", os.environ.get("CUDA_PATH"))):
        expect(of_cuda.command([command])[1].get("CUDA_PATH"), expected, f"the CUDA of {command}")


def every_step_before_the_tests_has_its_time():
    names = [step.name for step in run.steps("cuda", run.REAL)]
    asked = names[: names.index("models")]
    expect(set(names) - set(asked), {"models", "sipit", "units", "collisions", "states"}, "steps of tests, which come last")
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
        cuda_is_found(work)
        a_run_that_is_killed(folder, work / "terminated", signal.SIGTERM)
        nothing_is_left_running(folder)
        a_run_that_is_killed(folder, work / "killed", signal.SIGKILL)
        # The session of the step outlives a run that is killed. A machine that is given back ends it.
        for process in running(folder):
            os.kill(process, signal.SIGKILL)
    print("everything that had finished was kept")


if __name__ == "__main__":
    main()
