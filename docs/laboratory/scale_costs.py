#!/usr/bin/env python3
"""The cost of the closest pairs of 1e6, 1e8 and 1e9 prompts, for the ten models of the paper (arXiv 2510.15511).

    python3 docs/laboratory/scale_costs.py            prints the tables in Markdown
    python3 docs/laboratory/scale_costs.py --write    writes them into docs/scale.md, between its marks
    python3 docs/laboratory/scale_costs.py --check    fails if docs/scale.md has others

Everything is computed from the shapes of the models, the measured rates below, and the rate of an H100 in results/h100.json, which
is the results.json of benches/gpu/run.sh on one. Without that file the column of the H100 is computed from the maker's peak.
"""

import json
import pathlib
import sys

# d_model, layers, heads, key and value heads, width of a head, feed-forward width, matrices of the feed-forward.
# From the config.json of each model as it was published.
MODELS = {
    "TinyStories-33M": (768, 4, 16, 16, 48, 3072, 2),
    "GPT-2 Small": (768, 12, 12, 12, 64, 3072, 2),
    "GPT-2 Medium": (1024, 24, 16, 16, 64, 4096, 2),
    "GPT-2 Large": (1280, 36, 20, 20, 64, 5120, 2),
    "Gemma-3-1B": (1152, 26, 4, 1, 256, 6912, 3),
    "Gemma-3-4B": (2560, 34, 8, 4, 256, 10240, 3),
    "Gemma-3-12B": (3840, 48, 16, 8, 256, 15360, 3),
    "Phi-4-mini": (3072, 32, 24, 8, 128, 8192, 3),
    "Mistral-7B": (4096, 32, 32, 8, 128, 14336, 3),
    "Llama-3.1-8B": (4096, 32, 32, 8, 128, 14336, 3),
}
PROMPTS = [1e6, 1e8, 1e9]

# Tokens of a prompt. The cost of extraction is in proportion to it.
TOKENS = 64
# Bytes of a number on disk: f32.
BYTES = 4

# laboratory/results/models.md: matrix products run at 199 to 203 GFLOP/s on two cores of a Zen 4, and a forward pass of 8 prompts
# of 64 tokens at 75 to 82 % of that.
CORE = 0.75 * 201e9 / 2
# A node of a cluster.
CORES = 64
# The results of benches/gpu/run.sh on an H100, if there are any.
MEASURED = pathlib.Path(__file__).parent / "results" / "h100.json"
# Not measured here: the peak of an H100 (SXM) in f32 outside its tensor cores, by the maker's data sheet, times 75 %. Above, the 75 %
# are a share of a measured rate and not of a peak.
PEAK = 0.75 * 67e12

# docs/scale.md, the overhead of the engine: the closest pair of 600,000 random states of 256 coordinates took 269.7 s of two cores.
# Seconds of one core for a pair, everything included.
PAIR = 269.7 * 2 / (600_000 * 599_999 / 2)
# docs/laboratory/pruning.py: the share of pairs left for a direct distance is c n^b. The bundled model from 10,272 to 1,017,734 rows at
# block 3 (--rows), the others from 12,500 to 300,000 rows at half depth (--bench).
LEFT = {"the bundled model": (160, -1.81), "Gemma-3-270M": (14, -1.48), "SmolLM2-135M": (0.31, -0.86)}


def measured_rate(results):
    """The lowest rate of a forward pass in f32 among our rows, in FLOP/s. A row is named `forward/SHAPE/FORMAT/SIZE`."""
    if results["device"] != "cuda":
        sys.exit(f"{MEASURED}: results of the device {results['device']}, expected cuda")
    ours = [row for step in results["steps"] if "theirs" not in step["step"] for row in step["rows"]]
    rows = [row for row in ours if row["row"].split("/")[::2][:2] == ["forward", "f32"]]
    if not rows:
        sys.exit(f"{MEASURED}: expected rows `forward/SHAPE/f32/SIZE`, found none")
    return min(row["flop"] / row["ms"] * 1000 for row in rows)


def h100():
    """The FLOP/s of an H100, and the sentence that says where they come from."""
    if MEASURED.exists():
        rate = measured_rate(json.loads(MEASURED.read_text()))
        return rate, (
            f"The column of the H100 is computed from {rate / 1e12:.1f} TFLOP/s, the lowest rate of a forward pass in f32 that "
            "`benches/gpu/run.sh` measured."
        )
    return PEAK, (
        "No H100 has been measured yet: its column is the maker's peak in f32, 67 TFLOP/s, times 75 %, until\n"
        "`OUT=results benches/gpu/run.sh && cp results/results.json docs/laboratory/results/h100.json` on one, and then the command above, "
        "fill it in."
    )


def check_measured_rate():
    """Fails if rates are not read as `benches/gpu/table.py` writes them."""
    row = lambda name, ms: {"row": name, "ms": ms, "calls": 3, "flop": 4e9}
    ours = [row("forward/gpt2/f32/1x512", 2.0), row("forward/gemma-3-1b/f32/1x512", 4.0)]
    others = [row("forward/gpt2/bf16/1x512", 8.0), row("step/gpt2/f32/512", 8.0), row("scan/gpt2/f32/20", 8.0)]
    theirs = {"step": "theirs", "rows": [row("forward/gpt2/f32/1x512", 8.0)]}
    found = measured_rate({"device": "cuda", "steps": [theirs, {"step": "ours", "rows": ours + others}]})
    if found != 1e12:
        sys.exit(f"the rate of a GPU: expected 1e12, found {found}")


def flop_per_token(shape):
    """Two operations for each weight of a matrix. Attention's own products are left out: under 3 % at 64 tokens."""
    d, layers, heads, kv_heads, d_head, d_ff, ff_matrices = shape
    attention = d * d_head * (heads + 2 * kv_heads) + heads * d_head * d
    return 2 * layers * (attention + ff_matrices * d * d_ff)


def size(number, units):
    """A number with a unit: sizes(2.3e12, ["B", "kB", ...]) is `2.3 TB`."""
    step = 0
    while number >= 999.5 and step + 1 < len(units):
        number, step = number / 1000, step + 1
    digits = f"{number:.1f}" if number < 9.95 else f"{number:,.0f}"
    return f"{digits} {units[step]}".strip()


def hours(number):
    if number < 0.0995:
        return f"{number * 60:.1f} min" if number * 60 >= 0.1 else f"{number * 3600:.1g} s"
    return f"{number:.1f} h" if number < 9.95 else f"{number:,.0f} h"


def table(count, gpu):
    pairs = count * (count - 1) / 2
    left = [f"{pairs * c * count ** slope:.0e} with the states of {model}" for model, (c, slope) in LEFT.items()]
    search = pairs * PAIR / 3600
    lines = [
        f"**{count:.0e} prompts**: {pairs:.1e} pairs at a tap. After pruning: {', '.join(left)}. The search of random states takes about "
        f"{hours(search / CORES)} of one node at each tap.",
        "",
        "| model | states of one tap | FLOP of extraction | on one CPU node | on one H100 |",
        "|---|---|---|---|---|",
    ]
    for name, shape in MODELS.items():
        states = count * shape[0] * BYTES
        flop = count * TOKENS * flop_per_token(shape)
        cells = [name, size(states, ["B", "kB", "MB", "GB", "TB", "PB"]), f"{flop:.1e}"]
        cells += [hours(flop / (CORE * CORES) / 3600), hours(flop / gpu / 3600)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    check_measured_rate()
    gpu, about = h100()
    text = "\n\n".join([about] + [table(count, gpu) for count in PROMPTS])
    if not sys.argv[1:]:
        print(text)
        return
    if sys.argv[1:] not in (["--write"], ["--check"]):
        sys.exit(__doc__)
    path = pathlib.Path(__file__).parent.parent / "scale.md"
    begin, end = "<!-- costs: begin -->\n", "<!-- costs: end -->"
    page = path.read_text()
    before, rest = page.split(begin)
    written = before + begin + text + "\n" + end + rest.split(end)[1]
    if sys.argv[1] == "--write":
        path.write_text(written)
    elif page != written:
        sys.exit("docs/scale.md has other tables: run docs/laboratory/scale_costs.py --write")


if __name__ == "__main__":
    main()
