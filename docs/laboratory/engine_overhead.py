#!/usr/bin/env python3
"""Measures what the engine costs: the same pieces in one process and on executors, with one thread or two.

    python3 engine_overhead.py PROGRAM STATES TAP BANDS [REPEATS]
    python3 engine_overhead.py --check

PROGRAM is `inject-engine`. All sides measure the same pieces of the store STATES, in turn, and must write the same bytes. The services
are started before the clock. Three ratios of the medians separate what would otherwise be one figure:

- one executor against one process, one thread each: the engine, and nothing else. Both compute one piece after another.
- two executors of one thread against half of one process of one thread: the engine, pieces that do not divide evenly, and two processes
  that share the memory of the machine.
- two executors of one thread against one process of two threads: the same two cores. This also contains what two threads lose on one
  piece, so it can be negative.

`--check` runs all sides with a program that measures nothing, and compares how it was started.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

# The side, its executors and the threads of each process.
SIDES = [
    ("one process, one thread", 0, 1),
    ("one process, two threads", 0, 2),
    ("one executor, one thread", 1, 1),
    ("two executors, one thread each", 2, 1),
]


def threads(count):
    return os.environ | {"RAYON_NUM_THREADS": str(count)}


def service(program, *arguments):
    process = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, text=True, env=threads(1))
    return process, process.stdout.readline().removeprefix("listening on ").strip()


def seconds_of(job, executors, count):
    """The seconds of one side, and the journal that it wrote."""
    program = job[0]
    services = []
    options = []
    try:
        if executors:
            scheduler, address = service(program, "scheduler")
            services.append(scheduler)
            services += [service(program, "executor", "--scheduler", address)[0] for _ in range(executors)]
            options = ["--scheduler", address]
            time.sleep(2)
        with tempfile.TemporaryDirectory() as out:
            begun = time.time()
            subprocess.run([*job, "--out", out, *options], check=True, stdout=subprocess.DEVNULL, env=threads(count))
            return time.time() - begun, (pathlib.Path(out) / "corpus.jsonl").read_bytes()
    finally:
        for process in reversed(services):
            process.kill()
            process.wait()


def measure(program, states, tap, bands, repeats):
    """The median of the seconds of each side."""
    job = [program, "collisions", "--states", states, "--taps", tap, "--tiles", bands]
    seconds = {name: [] for name, _, _ in SIDES}
    written = set()
    for _ in range(repeats):
        for name, executors, count in SIDES:
            found, journal = seconds_of(job, executors, count)
            seconds[name].append(found)
            written.add(journal)
            print(f"{name}: {found:.1f} s", flush=True)
    assert len(written) == 1, "the bytes differ"
    return [statistics.median(seconds[name]) for name, _, _ in SIDES]


def ratios(one_thread, two_threads, one_executor, two_executors):
    """Each comparison in words, and how much longer its first side takes."""
    return [
        ("one executor against one process, one thread each", one_executor / one_thread - 1),
        ("two executors against half of one process of one thread", two_executors / (one_thread / 2) - 1),
        ("two executors against one process of two threads", two_executors / two_threads - 1),
    ]


# Writes a journal at once, and notes how it was started.
PRETENDER = """#!/usr/bin/env python3
import os, pathlib, sys, time
command, *options = sys.argv[1:]
with open(pathlib.Path(__file__).parent / "started", "a") as started:
    print(command, os.environ["RAYON_NUM_THREADS"], "--scheduler" in options, file=started)
if command == "collisions":
    (pathlib.Path(options[options.index("--out") + 1]) / "corpus.jsonl").write_text("journal")
else:
    print("listening on here", flush=True)
    time.sleep(600)
"""


def check():
    """Fails if a side is not started as it is called, or a ratio is not the one in its words."""
    with tempfile.TemporaryDirectory() as folder:
        program = pathlib.Path(folder) / "pretender"
        program.write_text(PRETENDER)
        program.chmod(0o755)
        measure(str(program), "states", "tap", "1", 1)
        started = (pathlib.Path(folder) / "started").read_text().splitlines()
    executor = "executor 1 True"
    engine = ["scheduler 1 False", executor, "collisions 1 True"]
    expected = ["collisions 1 False", "collisions 2 False", *engine, *engine[:2], executor, engine[2]]
    assert started == expected, f"expected {expected}, found {started}"
    found = [round(more, 6) for _, more in ratios(4.0, 2.5, 5.0, 3.0)]
    assert found == [0.25, 0.5, 0.2], found


def main():
    if sys.argv[1:] == ["--check"]:
        return check()
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    program, states, tap, bands = sys.argv[1:5]
    medians = measure(program, states, tap, bands, int(sys.argv[5]) if len(sys.argv) > 5 else 3)
    pieces = int(bands) * (int(bands) + 1) // 2 + 1
    print(f"{pieces} pieces, medians " + ", ".join(f"{seconds:.1f} s" for seconds in medians))
    for words, more in ratios(*medians):
        print(f"{words}: {100 * more:+.1f} %")


if __name__ == "__main__":
    main()
