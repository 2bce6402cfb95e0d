#!/usr/bin/env bash
# Measures exact nearest neighbours of this project and of FAISS in turn, on the same states and under the same conditions.
#
#   benches/peers/compare_distances.sh OUT STORE [TAP]        # python3 must have faiss-cpu, numpy and safetensors
#   PYTHON=~/venv/bin/python ROWS="100000" benches/peers/compare_distances.sh OUT STORE block-15
#
# Writes to the folder OUT: ours.md, states.md and gaussian.md. RAYON_NUM_THREADS applies to both sides.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: $0 OUT STORE [TAP]" >&2
    exit 2
fi
mkdir -p "$1"
out="$(cd "$1" && pwd)"
store="$(cd "$2" && pwd)"
tap="${3:-block-15}"
cd "$(dirname "$0")/../.."
python="${PYTHON:-python3}"
rows=(${ROWS:-100000})

cargo bench --bench distances --no-run
: > "$out/ours.md"
for count in "${rows[@]}"; do
    for question in nearest closest; do
        INJECT_STORE="$store" INJECT_TAP="$tap" cargo bench --bench distances -- \
            "/${count}x576/$question" | tee -a "$out/ours.md"
    done
done
"$python" benches/peers/distances.py --states "$store/tap-$tap.safetensors" --rows "${rows[@]}" --ours "$out/ours.md" |
    tee "$out/states.md"
"$python" benches/peers/distances.py --gaussian --rows "${rows[@]}" --ours "$out/ours.md" | tee "$out/gaussian.md"
