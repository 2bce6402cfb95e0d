#!/usr/bin/env python3
"""Compares two executors of one thread each with one process of two threads.

    python3 engine_overhead.py PROGRAM STATES TAP BANDS [REPEATS]

PROGRAM is `inject-engine`. Both sides search the same tiles of the store STATES, in turn, and must print the same bytes. The
services are started before the clock.
"""

import os
import statistics
import subprocess
import sys
import time


def service(program, *arguments):
    process = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, text=True, env=threads(1))
    return process, process.stdout.readline().removeprefix("listening on ").strip()


def threads(count):
    return os.environ | {"RAYON_NUM_THREADS": str(count)}


def main():
    program, states, tap, bands = sys.argv[1:5]
    repeats = int(sys.argv[5]) if len(sys.argv) > 5 else 3
    job = [program, "closest-pairs", "--states", states, "--taps", tap, "--tiles", bands]
    scheduler, address = service(program, "scheduler")
    executors = [service(program, "executor", "--scheduler", address)[0] for _ in range(2)]
    time.sleep(2)
    seconds = {"one process": [], "two executors": []}
    printed = set()
    try:
        for _ in range(repeats):
            for side, options in (("one process", []), ("two executors", ["--scheduler", address])):
                begun = time.time()
                printed.add(subprocess.run(job + options, check=True, stdout=subprocess.PIPE, env=threads(2)).stdout)
                seconds[side].append(time.time() - begun)
                print(f"{side}: {seconds[side][-1]:.1f} s", flush=True)
    finally:
        for process in (*executors, scheduler):
            process.kill()
    assert len(printed) == 1, "the bytes differ"
    one, two = (statistics.median(seconds[side]) for side in seconds)
    tiles = int(bands) * (int(bands) + 1) // 2
    print(f"{tiles} tiles, medians {one:.1f} s and {two:.1f} s: {100 * (two / one - 1):+.1f} %")


main()
