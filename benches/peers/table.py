"""Compares the two sides that compare.sh has measured: python benches/peers/table.py OUT

Milliseconds are the median of a round, and the best of several rounds. `times as fast` is PyTorch's time divided by ours,
of the best rounds, with the range of the single rounds in brackets. `of GEMM` is our rate as a share of our best product.
"""

import json
import re
import statistics
import sys
from pathlib import Path

PEER_ROW = re.compile(r"\| (\S+/\S+) \| [\d.]+ \| ([\d.]+) \|")


def ours(out):
    """Returns the milliseconds of each round by label, and the operations of one call by label."""
    rounds, flop = {}, {}
    for path in sorted(out.glob("criterion-*/**/new/sample.json")):
        benchmark = json.loads(path.with_name("benchmark.json").read_text())
        sample = json.loads(path.read_text())
        per_call = [time / calls / 1e6 for time, calls in zip(sample["times"], sample["iters"])]
        rounds.setdefault(benchmark["full_id"], []).append(statistics.median(per_call))
        flop[benchmark["full_id"]] = benchmark["throughput"]["Elements"]
    return rounds, flop


def peer(out):
    """Returns the milliseconds of each round by label."""
    rounds = {}
    for path in sorted(out.glob("peer-*.md")):
        for label, median in PEER_ROW.findall(path.read_text()):
            rounds.setdefault(label, []).append(float(median))
    return rounds


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    out = Path(sys.argv[1])
    ours_ms, flop = ours(out)
    peer_ms = peer(out)
    rates = {label: flop[label] / min(times) / 1e6 for label, times in ours_ms.items()}
    best_product = max((rate for label, rate in rates.items() if label.startswith("gemm/")), default=None)
    print("| row | ours, ms | GFLOP/s | of GEMM | PyTorch, ms | times as fast |\n|---|---|---|---|---|---|")
    order = ["forward", "step", "gemm", "candidates", "scan"]
    for label in sorted(ours_ms, key=lambda label: order.index(label.split("/")[0])):
        times, theirs = ours_ms[label], peer_ms.get(label)
        share = f"{rates[label] / best_product:.0%}" if best_product else ""
        cells = [label, f"{min(times):.2f}", f"{rates[label]:.1f}", share, "", ""]
        if theirs:
            ratios = [b / a for a, b in zip(times, theirs)]
            cells[4] = f"{min(theirs):.2f}"
            cells[5] = f"{min(theirs) / min(times):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
