#!/usr/bin/env bash
# Builds what benches/gpu/run.sh needs on a machine with CUDA, NVRTC and PyTorch, but without Rust and without network.
#
#   benches/gpu/build.sh CARRY      # needs cargo, cc, nm, strip and xz; about 25 minutes of processor time the first time
#
# Writes CARRY/programs.tar.xz: the program, the tests of inject-models and inject-sipit, the benchmark, and a stub library.
#
# The feature cuda-nvrtc compiles kernels from C++ by NVRTC. The crates of cubecl's LLVM are still linked, though nothing calls
# them: their build scripts do nothing under DOCS_RS=1, so their symbols stay open, and the stub library, which is to be preloaded,
# defines each of them as a trap. The target folder is its own, because the flags rebuild everything.
set -euo pipefail
if [ $# -ne 1 ]; then
    echo "usage: $0 CARRY" >&2
    exit 2
fi
mkdir -p "$1"
carry="$(cd "$1" && pwd)"
cd "$(dirname "$0")/../.."
export DOCS_RS=1 CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target/cuda}"
export RUSTFLAGS="${RUSTFLAGS:-} -C link-arg=-Wl,--unresolved-symbols=ignore-all"
programs="$(mktemp -d)"
trap 'rm -rf "$programs"' EXIT

# built NAME CARGO_ARGUMENTS...: the executable that cargo makes, stripped, under a name.
built() {
    local name="$1" found
    shift
    found="$(cargo "$@" --release --message-format=json-render-diagnostics | python3 -c '
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

built inject build -p inject-cli --bin inject --features cuda-nvrtc
built models-tests test --no-run -p inject-models --test it --features inject-testing/cuda-nvrtc
built sipit-tests test --no-run -p inject-sipit --test it --features inject-testing/cuda-nvrtc
built gpu-bench bench --no-run -p inject-benches --bench gpu --features cuda-nvrtc

sort -u "$programs/symbols" | awk '{ print "void " $1 "(void) { __builtin_trap(); }" }' |
    cc -shared -fPIC -w -O1 -x c -o "$programs/libllvm_stub.so" -
rm "$programs/symbols"
# The tests look for their fixtures below the folder in which they were built.
pwd > "$programs/root.txt"
# One archive with a large dictionary: the programs are much alike.
tar -C "$programs" -cf - . | xz -T1 --x86 --lzma2=preset=6,dict=512MiB > "$carry/programs.tar.xz"
ls -l "$carry"
