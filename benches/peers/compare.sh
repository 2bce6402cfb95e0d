#!/usr/bin/env bash
# Measures this project and PyTorch in turn, question by question, so that both run under the same conditions.
#
#   benches/peers/compare.sh OUT                          # python3 must have torch and transformers
#   PYTHON=~/venv/bin/python ROUNDS=3 benches/peers/compare.sh OUT
#
# Writes to the folder OUT: ours-ROUND-QUESTION.txt (criterion's own output), peer-ROUND-QUESTION.md, load.md, and
# table.md, which compares them. INJECT_REAL_MODELS and RAYON_NUM_THREADS apply to both sides.
set -euo pipefail
if [ $# -ne 1 ]; then
    echo "usage: $0 OUT" >&2
    exit 2
fi
mkdir -p "$1"
out="$(cd "$1" && pwd)"
here="$PWD"
cd "$(dirname "$0")/../.."
python="${PYTHON:-python3}"

peer=("$python" benches/peers/forward.py)
if [ -n "${INJECT_REAL_MODELS:-}" ]; then
    INJECT_REAL_MODELS="$(cd "$here" && cd "$INJECT_REAL_MODELS" && pwd)"
    export INJECT_REAL_MODELS
fi
if [ -d "${INJECT_REAL_MODELS:-}/smollm2-135m" ]; then
    peer+=(--smollm2 "$INJECT_REAL_MODELS/smollm2-135m")
fi

cargo bench --no-run
for round in $(seq "${ROUNDS:-2}"); do
    for question in forward step candidates; do
        CRITERION_HOME="$out/criterion-$round" cargo bench --bench "$question" |
            tee "$out/ours-$round-$question.txt"
        "${peer[@]}" --only "$question" | tee "$out/peer-$round-$question.md"
    done
done
cargo bench --bench load | tee "$out/load.md"
"$python" benches/peers/table.py "$out" | tee "$out/table.md"
