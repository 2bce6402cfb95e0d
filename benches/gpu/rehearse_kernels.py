"""Tests the archive of compiled kernels, and run.sh --compile, with a CUDA that says what is wanted. rehearse.py runs it."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import cuda
import kernels
import run
from expected import expect

HERE = Path(__file__).resolve().parent
# NVRTC writes the PTX of its version, or fails if that is empty.
NVRTC = """
#include <string.h>
static const char *text = PTX;
int nvrtcVersion(int *major, int *minor) { *major = MAJOR; *minor = MINOR; return 0; }
int nvrtcCreateProgram(void **made, const char *a, const char *b, int c, void *d, void *e) { *made = 0; return 0; }
int nvrtcCompileProgram(void *program, int count, void *options) { return *text ? 0 : 7; }
int nvrtcGetPTXSize(void *program, size_t *size) { *size = strlen(text) + 1; return 0; }
int nvrtcGetPTX(void *program, char *to) { strcpy(to, text); return 0; }
"""
DRIVER = "int cuDriverGetVersion(int *version) { *version = VERSION; return 0; }"


def library(source, path, **defined):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".c").write_text(source)
    flags = [f"-D{name}={value}" for name, value in defined.items()]
    subprocess.run(["cc", "-shared", "-fPIC", "-w", *flags, "-o", path, path.with_suffix(".c")], check=True)


def toolkit(home, major, minor, ptx):
    """A CUDA with headers that are empty, and an NVRTC of this version."""
    (home / "include/crt").mkdir(parents=True)
    for header in ("cuda_fp16.h", "crt/mma.h"):
        (home / "include" / header).write_text("")
    text = f".version {ptx}\\n.target sm_90\\n" if ptx else ""
    library(NVRTC, home / "lib64/libnvrtc.so", MAJOR=major, MINOR=minor, PTX=f'"{text}"')
    return home


def archive(path, compiler):
    """An archive of kernels that names this compiler, or none."""
    content = path.parent / "content"
    shutil.rmtree(content, ignore_errors=True)
    (content / "cubecl").mkdir(parents=True)
    (content / "cubecl/kernels").write_text("packed")
    if compiler is not None:
        (content / kernels.COMPILER).write_text(compiler)
    with tarfile.open(path, "w:xz") as tar:
        tar.add(content, arcname=".")


def archives_of_kernels(work):
    """An archive is used if the driver takes its kernels, and otherwise named and left alone."""
    carry, kernels.KEPT = work / "carry", work / "kept"
    carry.mkdir(parents=True)
    path = carry / kernels.ARCHIVE
    by = lambda nvrtc, ptx: json.dumps({"nvrtc": nvrtc, "ptx": ptx})
    card = {"nvrtc": "13.0", "ptx": "9.0", "driver": "13.0"}
    cases = {
        "too new": (by("13.2", "9.2"), card, "13.0", "NVRTC 13.2 (PTX 9.2)"),
        "too new by its first number": (by("14.0", "10.0"), card, "13.0", "NVRTC 14.0"),
        "without its compiler": (None, card, "13.0", "does not say which NVRTC"),
        "of an odd compiler": ('{"nvrtc": 13.0}', card, "13.0", "does not say which NVRTC"),
        "of no JSON": ("{", card, "13.0", "does not say which NVRTC"),
        "of the card's version": (by("13.0", "9.0"), card, "13.0-packed", None),
        "older": (by("12.9", "8.8"), card, "12.9-packed", None),
        "newer, as is the driver": (by("13.2", "9.2"), card | {"driver": "13.2"}, "13.2-packed", None),
        "on a driver without a version": (by("13.0", "9.0"), card | {"driver": None}, "13.0-packed", "does not say its version"),
        "beside an NVRTC that is too new": (by("13.0", "9.0"), card | {"nvrtc": "13.2"}, "13.0-packed", "NVRTC here is 13.2"),
        "without NVRTC": (by("13.2", "9.2"), card | {"nvrtc": None}, "unknown", "NVRTC 13.2"),
    }
    for name, (compiler, found, folder, said) in cases.items():
        archive(path, compiler)
        unpacked, notes = kernels.unpack(carry, work / "unpacked" / name, found)
        expect(unpacked.name, folder, f"kernels {name}: the folder")
        expect((unpacked / "cubecl/kernels").is_file(), folder.endswith("packed"), f"kernels {name}: used")
        expect(len(notes), 0 if said is None else 1, f"kernels {name}: notes")
        expect(said is None or said in notes[0], True, f"kernels {name}: {said}")
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no archive"):
        path.write_bytes(content)
        unpacked, notes = kernels.unpack(carry, work / f"damaged-{len(content)}", card)
        expect((unpacked.exists(), "is not whole" in notes[0]), (False, True), f"an archive of {len(content)} bytes")
    path.unlink()
    unpacked, notes = kernels.unpack(carry, work / "absent", card)
    expect((unpacked.name, "there is no" in notes[0]), ("13.0", True), "no archive")
    # What a run before has added.
    archive(path, by("13.0", "9.0"))
    (kernels.KEPT / "13.0-packed/cubecl/kernels").write_text("and tuned")
    unpacked, _ = kernels.unpack(carry, work / "again", card)
    expect((unpacked / "cubecl/kernels").read_text(), "and tuned", "kernels of a run before")


def cuda_is_found(work):
    """In whole toolkits, and in those of which a part is elsewhere."""
    whole, wheel, other = work / "toolkit", work / "wheel", work / "other"
    for home in (whole, wheel):
        (home / "include").mkdir(parents=True)
        (home / "include/cuda_fp16.h").write_text("")
    other.mkdir()
    expect(cuda.variables([wheel, whole])["CUDA_PATH"], str(wheel), "the first of two alike")
    (whole / "include/crt").mkdir()
    (whole / "include/crt/mma.h").write_text("")
    found = cuda.variables([other, wheel, whole])
    expect(found["CUDA_PATH"], str(whole), "the headers of CUDA")
    folders = found["LD_LIBRARY_PATH"].split(":")
    expect(folders.index(f"{whole}/lib64") < folders.index(f"{wheel}/lib"), True, "NVRTC of the toolkit before that of a wheel")
    expect(str(other) in found["LD_LIBRARY_PATH"], False, "a folder without headers")
    expect("CUDA_PATH" in cuda.variables([other]), False, "no headers")
    (work / "programs-of-cuda").mkdir()
    (work / "programs-of-cuda/inject").write_text("")
    of_cuda = run.Run(work / "programs-of-cuda", work / "programs-of-cuda", None, "cuda", found)
    for command, expected in (("inject", str(whole)), ("python3", os.environ.get("CUDA_PATH"))):
        expect(of_cuda.command([command])[1].get("CUDA_PATH"), expected, f"the CUDA of {command}")


class Machine:
    """A machine with this CUDA and no other. Its compiler makes empty files, because the headers are empty."""

    def __init__(self, work):
        self.work = work
        tools = work / "tools"
        tools.mkdir(parents=True)
        (tools / "cc").write_text('#!/bin/bash\nwhile [ "$1" != -o ]; do shift; done\n: > "$2"\n')
        # Stands before the wheels of PyTorch.
        (work / "python/nvidia").mkdir(parents=True)
        (work / "python/nvidia/__init__.py").write_text("")
        self.programs = work / "programs"
        self.programs.mkdir()
        for program in (tools / "cc", self.program("inject", "exit 0"), self.program("states-tests", "echo ok")):
            program.chmod(0o755)

    def program(self, name, text):
        (self.programs / name).write_text(f"#!/bin/bash\n{text}\n")
        return self.programs / name

    def run(self, name, *arguments, home=None, **variables):
        """Runs run.sh, and returns its status and everything that it said."""
        environment = os.environ | {
            "OUT": str(self.work / f"out {name}"), "CARRY": str(self.programs), "KERNELS": str(self.work / f"kernels {name}"), "PYTHON": sys.executable,
            "PYTHONPATH": str(self.work / "python"), "PATH": f"{self.work / 'tools'}:{os.environ['PATH']}", "CUDA_PATH": str(home or ""),
            "CUDA_HOME": "", "STEPS": "probe", "CARD_CUDA": "13.0", "LD_LIBRARY_PATH": "", **variables,
        }
        ran = subprocess.run([HERE / "run.sh", *arguments], env=environment, capture_output=True, text=True)
        return ran.returncode, ran.stdout + ran.stderr


def compiling(work):
    """run.sh --compile without CUDA, with an NVRTC that is too new or does not work, with nothing to compile, and with kernels."""
    homes = {"new": (13, 2, "9.2"), "right": (13, 0, "9.0"), "old": (12, 9, "8.8"), "broken": (13, 0, "")}
    homes = {name: toolkit(work / name, *what) for name, what in homes.items()}
    machine = Machine(work / "machine")
    refusals = [("too new", homes["new"], {}, "nvidia-cuda-nvrtc==13.0.*"), ("broken", homes["broken"], {}, "compiles nothing")]
    refusals += [("nonsense", homes["right"], {"CARD_CUDA": "thirteen"}, "CARD_CUDA"), ("empty", homes["right"], {"CARRY": str(work / "nowhere")}, "build.sh")]
    if not (Path("/usr/local/cuda").exists() or shutil.which("nvcc")):
        refusals.append(("without CUDA", None, {}, "needs CUDA's headers"))
    for name, home, variables, said in refusals:
        status, text = machine.run(name, "--compile", home=home, **variables)
        expect((status, said in text, "Traceback" in text), (1, True, False), f"--compile, {name}")
    status, text = machine.run("nothing", "--compile", home=homes["right"])
    expect((status, "no kernel was compiled" in text, "Traceback" in text), (1, True, False), "--compile, nothing compiled")
    expect((machine.programs / kernels.ARCHIVE).exists(), False, "--compile, nothing compiled: an archive")
    machine.program("inject", 'mkdir -p "$XDG_CACHE_HOME/cubecl"; echo compiled > "$XDG_CACHE_HOME/cubecl/kernels"')
    for home, card, nvrtc, ptx in (("right", "13.0", "13.0", "9.0"), ("old", "13.0", "12.9", "8.8"), ("new", "13.2", "13.2", "9.2")):
        status, text = machine.run(f"of {home}", "--compile", home=homes[home], CARD_CUDA=card)
        expect((status, "Traceback" in text), (0, False), f"--compile, NVRTC {nvrtc} for CUDA {card}")
        with tarfile.open(machine.programs / kernels.ARCHIVE) as tar:
            expect(json.load(tar.extractfile(f"./{kernels.COMPILER}")), {"nvrtc": nvrtc, "ptx": ptx}, "the compiler of its kernels")
            expect("./cubecl/kernels" in tar.getnames(), True, "its kernels")
    on_the_card(machine, homes["right"], work / "driver")


def on_the_card(machine, home, driver):
    """The archive is of NVRTC 13.2."""
    for number, used in ((13000, False), (13020, True)):
        library(DRIVER, driver / f"{number}/libcuda.so.1", VERSION=number)
        name = f"a driver of CUDA {number}"
        status, text = machine.run(name, home=home, STEPS="states", LD_LIBRARY_PATH=str(driver / str(number)))
        expect((status, "NVRTC 13.2 (PTX 9.2)" in text, "Traceback" in text), (0, not used, False), name)
        expect((machine.work / f"kernels {name}/13.2-packed/cubecl/kernels").exists(), used, f"{name}: kernels used")
