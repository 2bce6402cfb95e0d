"""The kernels that our programs compile, kept from run to run, and their archive for a machine with a GPU.

Kernels are found by their source alone. So those of each version of NVRTC have a folder of their own, and the archive says which
version compiled them.
"""

import json
import lzma
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import cuda

REPOSITORY = Path(__file__).resolve().parents[2]
# Kept as build outputs are.
KEPT = Path(os.environ.get("KERNELS", REPOSITORY / "target/kernels")).resolve()
ARCHIVE = "kernels.tar.xz"
# In the folder and in the archive: the versions of NVRTC and of the PTX that it wrote.
COMPILER = "compiler.json"


def extracted(archive, folder):
    """Unpacks an archive, and returns why it could not be unpacked, or nothing."""
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")
    except (OSError, EOFError, lzma.LZMAError, tarfile.TarError) as error:
        return [f"{archive} is not whole: {error}"]
    return []


def folder_of(name):
    return KEPT / (name or "unknown")


def variables(folder):
    """By which our programs keep kernels in a folder: a step finds those of the steps before it."""
    return {"XDG_CACHE_HOME": str(folder)}


def unpack(carry, work, found):
    """The folder of the kernels for a run on a GPU with these versions of CUDA, and what the user should know. The kernels of an archive
    that does not serve are compiled again, which takes longer than most steps have."""
    own, notes = folder_of(found["nvrtc"]), []
    driver = cuda.version(found["driver"])
    if driver and cuda.version(found["nvrtc"]) and cuda.version(found["nvrtc"]) > driver:
        notes.append(f"NVRTC here is {found['nvrtc']}, and the driver takes the kernels of {found['driver']} at most: those of NVRTC are refused")
    archive, fresh = carry / ARCHIVE, work / "kernels"
    if not archive.is_file():
        return own, [*notes, f"there is no {archive}, so every kernel is compiled here, which takes minutes: see `run.sh --compile`"]
    if failures := extracted(archive, fresh):
        return own, [*notes, *failures, "its kernels are not used"]
    try:
        compiler = json.loads((fresh / COMPILER).read_text())
        nvrtc = cuda.version(compiler["nvrtc"])
    except (OSError, ValueError, TypeError, KeyError):
        nvrtc = None
    if not nvrtc:
        return own, [*notes, f"{archive} does not say which NVRTC compiled its kernels: they are not used"]
    if driver and nvrtc > driver:
        told = f"the kernels of {archive} are of NVRTC {compiler['nvrtc']} (PTX {compiler.get('ptx')}), and the driver takes those of"
        return own, [*notes, f"{told} {found['driver']} at most: they are not used"]
    if not driver:
        notes.append("the driver does not say its version of CUDA: the kernels of the archive are used, whatever it takes")
    # Apart from those of a run without the archive.
    kept = folder_of(f"{compiler['nvrtc']}-packed")
    # A run before left more: which of them are the fastest.
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(fresh, kept)
    return kept, notes


def folder_to_compile(found):
    """The folder of the kernels that NVRTC of this version compiles. Ends the program if the card's driver would refuse them."""
    card = cuda.of_the_card()
    if not found["nvrtc"]:
        sys.exit(f"--compile needs NVRTC, and found none. Without a toolkit, get it for this Python: {cuda.wheels(card)}")
    if not found["ptx"]:
        sys.exit(f"NVRTC {found['nvrtc']} compiles nothing here: it may lack its library of built-in functions, libnvrtc-builtins")
    if cuda.version(found["nvrtc"]) > cuda.version(card):
        sys.exit(
            f"NVRTC here is {found['nvrtc']} and writes PTX {found['ptx']}, and the driver of the card takes the kernels of CUDA {card} at most. "
            f"Without a toolkit of that version, get it for this Python: {cuda.wheels(card)}. If the card's driver is newer, name its "
            "version in CARD_CUDA"
        )
    folder = folder_of(found["nvrtc"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / COMPILER).write_text(json.dumps({"nvrtc": found["nvrtc"], "ptx": found["ptx"]}) + "\n")
    return folder


def pack(folder, carry):
    """Packs the kernels, and returns why not, or nothing."""
    if not any(path.is_file() and path.name != COMPILER for path in folder.rglob("*")):
        return "no kernel was compiled, so there is no archive of them: the log says what the programs met"
    # A run that is ended here leaves the archive of the run before.
    part = carry / f"{ARCHIVE}.part"
    with tarfile.open(part, "w:xz") as tar:
        tar.add(folder, arcname=".")
    part.replace(carry / ARCHIVE)
    return None


def stand_in(cuda_path, work):
    """The variables by which our programs run on the driver of stand_in.c, where nothing is computed. Its times decide nothing: every
    kernel that might be the fastest is compiled, and none is kept as the fastest."""
    source, headers = REPOSITORY / "benches/gpu/stand_in.c", Path(cuda_path) / "include"
    built = subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-I", headers, "-o", work / "libcuda.so.1", source])
    if built.returncode:
        sys.exit(f"stand_in.c, the driver without a GPU, was not built with the headers in {headers}")
    return {"CUBECL_AUTOTUNE_CACHE": "0", "CUBECL_AUTOTUNE_SHORT_CIRCUIT": "0", "CUBECL_THROUGHPUT_CACHE": "0"}
