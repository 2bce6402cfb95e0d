#!/usr/bin/env python3
"""Compares two executors of one thread each with one process of two threads.

    python3 engine_overhead.py PROGRAM STATES TAP BANDS [REPEATS]

PROGRAM is `inject-engine`. Both sides measure the same pieces of the store STATES, in turn, and must write the same bytes. The
services are started before the clock.
"""

import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time


def service(program, *arguments):
    process = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, text=True, env=threads(1))
    return process, process.stdout.readline().removeprefix("listening on ").strip()


def threads(count):
    return os.environ | {"RAYON_NUM_THREADS": str(count)}


def main():
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    program, states, tap, bands = sys.argv[1:5]
    repeats = int(sys.argv[5]) if len(sys.argv) > 5 else 3
    job = [program, "collisions", "--states", states, "--taps", tap, "--tiles", bands, "--out"]
    scheduler, address = service(program, "scheduler")
    executors = [service(program, "executor", "--scheduler", address)[0] for _ in range(2)]
    time.sleep(2)
    seconds = {"one process": [], "two executors": []}
    written = set()
    try:
        for _ in range(repeats):
            for side, options in (("one process", []), ("two executors", ["--scheduler", address])):
                with tempfile.TemporaryDirectory() as out:
                    begun = time.time()
                    subprocess.run([*job, out, *options], check=True, stdout=subprocess.DEVNULL, env=threads(2))
                    seconds[side].append(time.time() - begun)
                    written.add((pathlib.Path(out) / "corpus.jsonl").read_bytes())
                print(f"{side}: {seconds[side][-1]:.1f} s", flush=True)
    finally:
        for process in (*executors, scheduler):
            process.kill()
    assert len(written) == 1, "the bytes differ"
    one, two = (statistics.median(seconds[side]) for side in seconds)
    pieces = int(bands) * (int(bands) + 1) // 2 + 1
    print(f"{pieces} pieces, medians {one:.1f} s and {two:.1f} s: {100 * (two / one - 1):+.1f} %")


main()
