#!/usr/bin/env bash
# Measures the table of docs/sizes.md: writes each checkpoint of random weights in BF16, measures it, and removes it.
#
#   benches/sizes.sh FOLDER [MODEL...] [-- COLUMN...]
#
# FOLDER needs room for the largest of the models. Without MODEL all ten are measured. benches/sizes.rs explains the columns.
set -euo pipefail
cd "$(dirname "$0")/.."

folder=${1:?"usage: benches/sizes.sh FOLDER [MODEL...] [-- COLUMN...]"}
shift
models=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    models+=("$1")
    shift
done
[ $# -eq 0 ] || shift
if [ ${#models[@]} -eq 0 ]; then
    models=(gpt2 gpt2-medium gpt2-large tinystories-33m gemma-3-1b gemma-3-4b gemma-3-12b phi-4-mini mistral-7b llama-3.1-8b)
fi

cargo build --release -p inject-cli
cargo bench --bench sizes --no-run
for model in "${models[@]}"; do
    checkpoint=$folder/$model
    # What was there before the script stays.
    written=false
    if [ ! -e "$checkpoint" ]; then
        written=true
        cargo run --release -- random-model --like "$model" --out "$checkpoint"
    fi
    INJECT_MODEL=$checkpoint INJECT_HOLD=${INJECT_HOLD:-stored} cargo bench --bench sizes -- "$@" || echo "$model was not measured"
    if $written; then
        rm -r "$checkpoint"
    fi
done
