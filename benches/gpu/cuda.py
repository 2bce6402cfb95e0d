"""Where CUDA is, and the versions of its parts.

    python3 benches/gpu/cuda.py     # prints those that LD_LIBRARY_PATH finds, as a line of JSON
"""

import ctypes
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

# The CUDA of the driver on the machine with the GPU. A driver takes the kernels of NVRTC up to its own version, so a newer NVRTC
# compiles nothing that it would load. CARD_CUDA names another.
OF_THE_CARD = "13.0"
# In the order in which cudarc 0.19, and so burn, looks for it.
NVRTC = ("libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12")
DRIVER = ("libcuda.so.1", "libcuda.so")


def version(text):
    """A version such as 13.0, as numbers that can be compared, or None."""
    found = re.fullmatch(r"(\d+)\.(\d+)", text or "")
    return (int(found[1]), int(found[2])) if found else None


def of_the_card():
    named = os.environ.get("CARD_CUDA", OF_THE_CARD)
    if not version(named):
        sys.exit(f"CARD_CUDA is {named!r}: expected a version of CUDA such as {OF_THE_CARD}")
    return named


def wheels(of):
    """How to get NVRTC of a version, and the headers that kernels include, without a toolkit."""
    packages = [f"'nvidia-cuda-{name}=={of}.*'" for name in ("nvrtc", "runtime", "crt", "cccl")]
    return f"pip install --no-deps {' '.join(packages)}"


def variables(homes):
    """The variables by which our programs find CUDA's headers and NVRTC: in the first of these folders that has each."""
    homes = [home for home in map(Path, homes) if (home / "include/cuda_fp16.h").is_file()]
    # A wheel may lack what kernels for tensor cores include.
    homes.sort(key=lambda home: not (home / "include/crt/mma.h").is_file())
    folders = [str(home / folder) for home in homes for folder in ("lib64", "targets/x86_64-linux/lib", "lib")]
    # A container has the driver there.
    path = ":".join([*folders, *filter(None, [os.environ.get("LD_LIBRARY_PATH")]), "/usr/local/nvidia/lib64"])
    return {"LD_LIBRARY_PATH": path} | ({"CUDA_PATH": str(homes[0])} if homes else {})


def homes():
    """Where CUDA may be: where it is said to be, where it usually is, beside its compiler, and in the wheels that PyTorch needs."""
    named = filter(None, map(os.environ.get, ("CUDA_PATH", "CUDA_HOME")))
    compiler = [Path(found).resolve().parents[1] for found in filter(None, [shutil.which("nvcc")])]
    spec = importlib.util.find_spec("nvidia")
    wheels = [home for folder in (spec.submodule_search_locations if spec else []) for home in Path(folder).glob("cu[0-9]*")]
    return [*named, "/usr/local/cuda", *compiler, *wheels]


def versions(found):
    """The versions that our programs meet with these variables. In a process of its own: a library is looked for where the variables said
    when the process began, and a driver may hang."""
    nothing = {"nvrtc": None, "ptx": None, "driver": None}
    try:
        ran = subprocess.run([sys.executable, __file__], env=os.environ | found, capture_output=True, text=True, timeout=20)
        return nothing | json.loads(ran.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return nothing


def library(names):
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            pass
    return None


def of_nvrtc(nvrtc):
    """The version of NVRTC, and that of the PTX that it writes, or None if it compiles nothing."""
    major, minor, program, size = ctypes.c_int(), ctypes.c_int(), ctypes.c_void_p(), ctypes.c_size_t()
    nvrtc.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    source = b'extern "C" __global__ void twice(float *x) { x[threadIdx.x] *= 2; }'
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, None, 0, None, None)
    options = (ctypes.c_char_p * 1)(b"--gpu-architecture=compute_90")
    failed = nvrtc.nvrtcCompileProgram(program, 1, options) or nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size))
    text = ctypes.create_string_buffer(size.value or 1)
    failed = failed or nvrtc.nvrtcGetPTX(program, text)
    written = re.search(rb"^\.version (\S+)", text.raw, re.MULTILINE)
    return f"{major.value}.{minor.value}", written[1].decode() if written and not failed else None


def of_driver(driver):
    number = ctypes.c_int()
    return None if driver.cuDriverGetVersion(ctypes.byref(number)) else f"{number.value // 1000}.{number.value % 1000 // 10}"


if __name__ == "__main__":
    nvrtc, driver = library(NVRTC), library(DRIVER)
    written = of_nvrtc(nvrtc) if nvrtc else (None, None)
    print(json.dumps({"nvrtc": written[0], "ptx": written[1], "driver": of_driver(driver) if driver else None}))
