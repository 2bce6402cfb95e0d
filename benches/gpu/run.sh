#!/usr/bin/env bash
# Runs tests and benchmarks on a GPU, the most important first, and writes one table. A run that is cut off leaves the results
# of every step that it finished.
#
#   OUT=results benches/gpu/run.sh                      # on the machine with the GPU; carry/ is what build.sh wrote
#   OUT=results benches/gpu/run.sh --rehearse flex      # here: the same steps, small, with the programs of cargo
#
# Writes to the folder OUT: results.md and results.json, the table; STEP.log; steps.jsonl; rows-ours.jsonl and rows-peer.jsonl.
#
# | variable | meaning |
# |---|---|
# | OUT | the folder for results |
# | CARRY | the folder with programs.tar.xz, or with the programs themselves [carry] |
# | LIMIT | seconds for everything [570] |
# | STEPS | the steps to run, separated by spaces [all] |
# | PYTHON | a Python with torch, transformers and safetensors [python3] |
set -uo pipefail
if [ -z "${OUT:-}" ]; then
    echo "OUT is not set: expected a folder for results" >&2
    exit 2
fi
mkdir -p "$OUT"
out="$(cd "$OUT" && pwd)"
carry="$(cd "${CARRY:-$(dirname "$0")/../../carry}" && pwd)" || exit 2
cd "$(dirname "$0")/../.." || exit 2
python="${PYTHON:-python3}"
limit="${LIMIT:-570}"

device=cuda rehearsal=no
if [ "${1:-}" = --rehearse ]; then
    device="${2:?expected the device to rehearse on, such as flex}" rehearsal=yes
elif [ $# -gt 0 ]; then
    echo "usage: OUT=FOLDER $0 [--rehearse DEVICE]" >&2
    exit 2
fi
if [ $rehearsal = yes ]; then
    small=benches/gpu/tiny.json large=benches/gpu/tiny.json shapes=benches/gpu/tiny.json peer=cpu
    tap=block-2 long=5,6,7,8,9 short=5,6,7 rows=500 width=64 product=256 seconds=0.1 filter=parity::
    formats=f32 peer_formats=f32 large_formats=f32
else
    small=gpt2 large=llama-3.1-8b shapes=gpt2,gemma-3-1b peer=cuda
    tap=block-6 long=11,22,33,44,55,66,77,88,99,110,121,132,143,154,165,176,187,198,209,220
    short=11,22,33,44,55,66,77,88,99,110 rows=100000 width=768 product=8192 seconds=1 filter=
    formats=f32,bf16 peer_formats=f32,tf32,bf16 large_formats=bf16,f32
fi
large_tap=block-16
[ $rehearsal = yes ] && large_tap=block-2

# The programs.
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
if [ -f "$carry/programs.tar.xz" ]; then
    tar -C "$work" -xJf "$carry/programs.tar.xz" || exit 1
    programs="$work"
    root="$(cat "$work/root.txt")"
    # The tests look for their fixtures where they were built.
    if [ ! -e "$root" ]; then
        mkdir -p "$(dirname "$root")" && ln -s "$PWD" "$root"
    fi
    export LD_PRELOAD="$work/libllvm_stub.so"
else
    programs="$carry"
fi
if [ $device = cuda ]; then
    export CUDA_PATH="${CUDA_PATH:-/usr/local/cuda}"
    export LD_LIBRARY_PATH="$CUDA_PATH/lib64:$CUDA_PATH/targets/x86_64-linux/lib:${LD_LIBRARY_PATH:-}"
fi
export INJECT_DEVICE=$device
inject() { "$programs/inject" "$@"; }
peers() { LD_PRELOAD="" "$python" benches/peers/gpu.py --device $peer --seconds $seconds "$@"; }
bench() { "$programs/gpu-bench" --seconds $seconds "$@"; }

# Each step is a function. Rows of JSON in its output become rows of the table.
probe() {
    if [ $device = cuda ]; then
        nvidia-smi || return 1
        ldconfig -p | grep -E 'libcuda|libnvrtc'
        ls "$CUDA_PATH"/lib64/libnvrtc* 2> /dev/null
    fi
    LD_PRELOAD="" "$python" -c 'import torch; print("torch", torch.__version__, torch.cuda.is_available())'
    inject invert --device $device
}
parity() { "$programs/models-tests" parity:: --test-threads 4; }
# A random model is drawn once, and kept for the steps that follow.
model() { [ -f "$work/$(basename "$1" .json)/config.json" ] || inject random-model --like "$1" --out "$work/$(basename "$1" .json)"; }
scan() {
    model "$1" || return 1
    inject invert --device $device --model "$work/$(basename "$1" .json)" --ids "$2" --tap "$3" \
        --policy exhaustive --certify --json > "$out/scan.json"
    local status=$?
    "$python" benches/gpu/table.py scan "$(basename "$1" .json)/$3" "$out/scan.json" || return 1
    return $status
}
scan_small() { scan $small $long $tap; }
scan_large() { scan $large $short $large_tap; }
ours() { bench --shapes $shapes --formats $formats; }
ours_large() { bench --shapes $large --formats $large_formats; }
theirs() { peers --shapes $shapes --formats $peer_formats --questions gemm,forward,step --product $product; }
theirs_large() { peers --shapes $large --formats $large_formats; }
neighbours() { bench --questions neighbours --rows $rows --width $width; }
neighbours_theirs() { peers --questions neighbours --formats f32,tf32 --rows $rows --width $width; }
# Tests of files and of the network compute nothing on a device.
models() { "$programs/models-tests" --test-threads 4 --skip hub:: --skip malformed:: --skip hostile_files:: $filter; }
sipit() { "$programs/sipit-tests" --test-threads 4 --skip hostile_files:: ${filter:+small::}; }

# run STEP SECONDS SIDE: a step in a shell of its own, within its limit and what is left of the whole.
run() {
    local step="$1" most="$2" side="$3" left begin=$SECONDS status
    if [ -n "${STEPS:-}" ] && [[ " $STEPS " != *" $step "* ]]; then return; fi
    left=$((limit - SECONDS))
    if [ $left -lt 5 ]; then
        echo "{\"step\": \"$step\", \"status\": \"not begun\"}" >> "$out/steps.jsonl"
        return
    fi
    [ $left -lt "$most" ] && most=$left
    echo "== $step, at most $most s"
    # A process group, so that the limit ends the programs of a step too.
    set -m
    ($step) > "$out/$step.log" 2>&1 &
    local job=$!
    (sleep "$most"; kill -TERM -- -$job; sleep 3; kill -KILL -- -$job) 2> /dev/null &
    local watch=$!
    set +m
    wait $job 2> /dev/null
    status=$?
    kill -TERM -- -$watch 2> /dev/null
    wait $watch 2> /dev/null
    grep '^{"row"' "$out/$step.log" >> "$out/rows-$side.jsonl"
    echo "{\"step\": \"$step\", \"status\": $status, \"seconds\": $((SECONDS - begin)), \"most\": $most}" >> "$out/steps.jsonl"
    "$python" benches/gpu/table.py write "$out" $device > /dev/null
    tail -n 3 "$out/$step.log"
}

: > "$out/steps.jsonl"
: > "$out/rows-ours.jsonl"
: > "$out/rows-peer.jsonl"
run probe 90 ours
run parity 120 ours
run scan_small 60 ours
run ours 90 ours
run theirs 60 peer
run models 150 ours
run ours_large 90 ours
run theirs_large 60 peer
run neighbours 60 ours
run neighbours_theirs 30 peer
run sipit 150 ours
run scan_large 150 ours
"$python" benches/gpu/table.py write "$out" $device
! grep -q '"status": [1-9]\|not begun' "$out/steps.jsonl"
