#!/usr/bin/env bash
# Builds what benches/gpu/run.sh needs on a machine with CUDA, NVRTC and PyTorch, but without Rust and without network.
#
#   benches/gpu/build.sh CARRY              # needs cargo, cc, nm, strip and xz; about 25 minutes of processor time the first time
#   benches/gpu/build.sh CARRY flex         # the same programs for a rehearsal on flex, or on wgpu: no stub, the usual target folder
#
# Writes CARRY/programs.tar.xz: the program, the tests of inject-models, inject-states, inject-collisions and inject-sipit, the
# benchmark, and a stub library.
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

# built NAME CARGO_ARGUMENTS...: the executable that cargo makes, stripped, under a name.
built() {
    local name="$1" found
    shift
    found="$(${CARGO:-cargo} "$@" --release --message-format=json-render-diagnostics | python3 -c '
import json, sys
found = [json.loads(line).get("executable") for line in sys.stdin]
print(*[path for path in found if path], sep="\n")')"
    if [ "$(wc -l <<< "$found")" != 1 ] || [ -z "$found" ]; then
        echo "$name: expected one executable, found: $found" >&2
        exit 1
    fi
    nm -D --undefined-only "$found" | awk '$1 == "U" && $2 ~ /^(LLVM|cubecl_)/ { print $2 }' >> "$programs/symbols"
    strip -o "$programs/$name" "$found"
}

# tests NAME CRATE TARGET...: an executable of tests.
tests() { built "$1-tests" test --no-run -p "inject-$2" "${@:3}" --features "inject-testing/$feature"; }

built inject build -p inject-cli --bin inject --features "$feature"
built gpu-bench build -p inject-benches --bench gpu --features "$feature"
tests models models --test it
tests models-unit models --lib
tests sipit sipit --test it
tests sipit-unit sipit --lib
tests collisions collisions --test it
tests states states --test it

if [ -s "$programs/symbols" ]; then
    sort -u "$programs/symbols" | awk '{ print "void " $1 "(void) { __builtin_trap(); }" }' |
        cc -shared -fPIC -w -O1 -x c -o "$programs/libllvm_stub.so" -
fi
rm "$programs/symbols"
# The tests look for their fixtures below the folder in which they were built.
pwd > "$programs/root.txt"
# One archive with a large dictionary: the programs are much alike.
tar -C "$programs" -cf - . | xz -T1 --x86 --lzma2=preset=6,dict=512MiB > "$carry/programs.tar.xz"
ls -l "$carry" "$programs"
