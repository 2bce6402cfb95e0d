#!/usr/bin/env bash
# Builds what benches/gpu/run.sh needs on a machine with CUDA, NVRTC and PyTorch, but without Rust and without network.
#
#   benches/gpu/build.sh CARRY              # needs cargo, cc, nm, strip and xz; about 25 minutes of processor time the first time
#   benches/gpu/build.sh CARRY flex         # the same programs for a rehearsal on flex, or on wgpu: no stub, the usual target folder
#
# Writes CARRY/programs.tar.xz: the program, the benchmark, the tests of inject-models, and a stub library. The other tests are in
# CARRY/tests.tar.xz. Two archives, because what is carried at once may be limited.
#
# The feature cuda-nvrtc compiles kernels from C++ by NVRTC. The crates of cubecl's LLVM are still linked, though nothing calls
# them: their build scripts do nothing under DOCS_RS=1, so their symbols stay open, and the stub library, which is to be preloaded,
# defines each of them as a trap. The target folder is its own, because the flags rebuild everything.
set -euo pipefail
if [ $# -lt 1 ] || [ $# -gt 2 ]; then
    echo "usage: $0 CARRY [flex|wgpu]" >&2
    exit 2
fi
mkdir -p "$1"
carry="$(cd "$1" && pwd)"
feature="${2:-cuda-nvrtc}"
cd "$(dirname "$0")/../.."
if [ "$feature" = cuda-nvrtc ]; then
    export DOCS_RS=1 CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target/cuda}"
    export RUSTFLAGS="${RUSTFLAGS:-} -C link-arg=-Wl,--unresolved-symbols=ignore-all"
fi
programs="$(mktemp -d)"
trap 'rm -rf "$programs"' EXIT

# built CARGO_ARGUMENTS...: the executables that cargo makes, stripped, each under its name.
built() {
    local name path
    ${CARGO:-cargo} "$@" --release --message-format=json-render-diagnostics | python3 -c '
import json, pathlib, sys
for message in map(json.loads, sys.stdin):
    if path := message.get("executable"):
        crate = pathlib.Path(message["manifest_path"]).parent.name.removeprefix("inject-")
        name = message["target"]["name"]
        names = {"bin": name, "bench": f"{name}-bench", "test": f"{crate}-tests", "lib": f"{crate}-unit-tests"}
        print(names[message["target"]["kind"][0]], path)' > "$programs/built"
    while read -r name path; do
        nm -D --undefined-only "$path" | awk '$1 == "U" && $2 ~ /^(LLVM|cubecl_)/ { print $2 }' >> "$programs/symbols"
        strip -o "$programs/$name" "$path"
    done < "$programs/built"
    rm "$programs/built"
}

# Tests want features of some dependencies that a program alone does without. They are united if a benchmark is built beside it, and
# the tests of a crate are among the packages, so that burn is compiled once.
built build -p inject-cli -p inject-benches -p inject-models --bin inject --bench gpu \
    --features "inject-cli/$feature,inject-benches/$feature"
built test --no-run -p inject-models -p inject-sipit -p inject-collisions -p inject-states --test it \
    --features "inject-testing/$feature"
built test --no-run -p inject-models -p inject-sipit --lib --features "inject-testing/$feature"
for name in inject gpu-bench {models,sipit,collisions,states}-tests {models,sipit}-unit-tests; do
    if [ ! -x "$programs/$name" ]; then
        echo "cargo made no $name" >&2
        exit 1
    fi
done

if [ -s "$programs/symbols" ]; then
    sort -u "$programs/symbols" | awk '{ print "void " $1 "(void) { __builtin_trap(); }" }' |
        cc -shared -fPIC -w -O1 -x c -o "$programs/libllvm_stub.so" -
fi
rm "$programs/symbols"
# The tests look for their fixtures below the folder in which they were built.
pwd > "$programs/root.txt"
# packed NAME FILES...: an archive with a large dictionary, because the programs are much alike.
packed() {
    (cd "$programs" && tar -cf - "${@:2}") | xz -T1 --x86 --lzma2=preset=6,dict=512MiB > "$carry/$1.tar.xz"
}
tests=({sipit,collisions,states}-tests {models,sipit}-unit-tests)
packed tests "${tests[@]}"
(cd "$programs" && rm "${tests[@]}")
packed programs .
ls -l "$carry" "$programs"
