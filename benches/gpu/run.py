"""The steps of run.sh, which see for what they write and for the variables that they read."""

import argparse
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cuda
import kernels
import table

# For everything.
LIMIT = 570
REPOSITORY = Path(__file__).resolve().parents[2]
PEERS = [sys.executable, "benches/peers/gpu.py"]
# A step that prints more is stopped, and the middle of what it printed is cut out, because only so much comes back.
MOST_PRINTED = 64 << 20
KEPT = 500_000


@dataclasses.dataclass
class Step:
    name: str
    # The seconds after which it is stopped. What the steps before it left of theirs is added.
    limit: int
    # Its commands, of which each runs whatever became of the one before.
    commands: list


@dataclasses.dataclass
class Sizes:
    """What differs between a rehearsal and the run itself."""

    small: str
    shapes: str
    large: str
    formats: str
    peer_formats: str
    large_formats: str
    long: int
    short: int
    rows: int
    width: int
    product: int
    batches: int
    seconds: float
    # Of a scan before the one that is timed.
    warm_up: float


REAL = Sizes(
    small="gpt2", shapes="gpt2,gemma-3-1b", large="llama-3.1-8b", formats="f32,bf16", peer_formats="f32,tf32,bf16",
    large_formats="bf16,f32", long=20, short=10, rows=100_000, width=768, product=8192, batches=10_000, seconds=1,
    warm_up=20,
)
FIXTURES = "crates/inject-models/tests/fixtures"
TINY = "benches/gpu/tiny.json"
REHEARSED = Sizes(
    small=TINY, shapes=TINY, large=TINY, formats="f32", peer_formats="f32", large_formats="f32", long=5, short=3, rows=500,
    width=64, product=256, batches=1000, seconds=0.1, warm_up=5,
)


def steps(device, sizes):
    """All steps, the most important first. The limits of those before the tests add up to less than LIMIT, so each is reached."""
    peer = [*PEERS, "--device", "cuda" if device == "cuda" else "cpu", "--seconds", str(sizes.seconds)]
    bench = ["gpu-bench", "--seconds", str(sizes.seconds)]
    neighbours = ["--questions", "neighbours", "--rows", str(sizes.rows), "--width", str(sizes.width)]
    product = ["--product", str(sizes.product)]

    def tests(name, *arguments):
        # What a test prints, and why it failed, would otherwise come at the end, which a step that is cut off does not reach.
        return [f"{name}-tests", "--test-threads", "4", "--nocapture", *arguments]

    def parity(format):
        return [*bench, "--questions", "parity", "--formats", format, "--fixtures", FIXTURES]

    def scan(shape, formats, positions):
        shape = ["--shapes", shape, "--formats", formats]
        return [*bench, *shape, "--questions", "gemm,scan", "--positions", str(positions), "--warm-up", str(sizes.warm_up), *product]

    def without(*modules):
        return [argument for module in modules for argument in ("--skip", f"{module}::")]

    card = [["nvidia-smi"], ["sh", "-c", "ldconfig -p | grep -E 'libcuda|libnvrtc'"]] if device == "cuda" else []
    torch = "import torch; print('torch', torch.__version__, torch.cuda.is_available())"
    memory = [*bench, "--shapes", TINY, "--questions", "memory", "--batches", str(sizes.batches)]
    large = ["--shapes", sizes.large]
    return [
        Step("probe", 40, [*card, ["inject", "invert", "--device", device], [sys.executable, "-c", torch]]),
        Step("parity", 80, [parity("f32")]),
        Step("scan", 60, [scan(sizes.small, "f32", sizes.long)]),
        # A process each: the kernels of one format say nothing of the other.
        Step("ours", 60, [[*bench, "--shapes", sizes.shapes, "--formats", format] for format in sizes.formats.split(",")]),
        Step("theirs", 45, [
            [*peer, "--shapes", sizes.shapes, "--formats", sizes.peer_formats, "--questions", "gemm,forward,step", *product],
        ]),
        Step("ours-large", 60, [[*bench, *large, "--formats", sizes.large_formats]]),
        Step("theirs-large", 45, [[*peer, *large, "--formats", sizes.large_formats]]),
        Step("scan-large", 90, [scan(sizes.large, sizes.large_formats, sizes.short)]),
        Step("memory", 30, [memory]),
        Step("neighbours", 20, [[*bench, *neighbours]]),
        Step("neighbours-theirs", 15, [[*peer, *neighbours, "--formats", "f32,tf32"]]),
        Step("parity-f64", 40, [parity("f64")]),
        # Tests of files and of the network compute nothing on a device.
        Step("models", 120, [tests("models", *without("hub", "malformed", "hostile_files", "parity"))]),
        Step("sipit", 120, [tests("sipit", *without("hostile_files"))]),
        Step("units", 90, [tests("models-unit", "decoder::"), tests("sipit-unit", "inverter::")]),
        Step("collisions", 60, [tests("collisions")]),
        Step("states", 60, [tests("states", "extract::")]),
    ]


def wanted(all_steps, names):
    """The steps of these names, or all."""
    known = [step.name for step in all_steps]
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"STEPS names unknown steps: {' '.join(unknown)}; expected some of {' '.join(known)}")
    return [step for step in all_steps if not names or step.name in names]


class Run:
    def __init__(self, out, programs, stub, device, ours):
        self.out, self.programs, self.stub, self.device = out, programs, stub, device
        # The variables of our programs alone: PyTorch has libraries of its own.
        self.ours = ours
        # A second run adds to it.
        self.log = out / "log.txt"
        self.log.touch()
        if (before := table.device_of(self.log) or device) != device:
            sys.exit(f"{out} holds a run on {before}: choose another folder for one on {device}")
        self.group = None

    def command(self, command):
        """A command with the programs' full paths, and its environment."""
        environment = dict(os.environ, INJECT_DEVICE=self.device, PYTHONUNBUFFERED="1")
        ours = self.programs / command[0]
        if ours.is_file():
            environment |= self.ours
            # Only they need the symbols of the library that they were linked without.
            if self.stub:
                environment["LD_PRELOAD"] = str(self.stub)
            command = [str(ours), *command[1:]]
        return command, environment

    def step(self, step, seconds):
        """Runs one step within its limit, and writes the table anew."""
        begin = time.monotonic()
        table.begin(self.log, step.name, round(seconds), self.device)
        at = self.log.stat().st_size
        print(f"== {step.name}, at most {seconds:.0f} s", flush=True)
        statuses = []
        for command in step.commands:
            left = begin + seconds - time.monotonic()
            statuses.append(self.run(command, left) if left > 0 else "cut off")
        table.shorten(self.log, at, KEPT)
        failures = [status for status in statuses if status != 0]
        table.end(self.log, step.name, failures[0] if failures else 0, time.monotonic() - begin)
        self.table()
        print(f"   {failures[0] if failures else 'passed'}", flush=True)

    def note(self, text):
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"{text}\n")
        print(text, flush=True)

    def table(self):
        """Writes the table, and returns it. A mistake in it does not end the run: the log has everything."""
        try:
            return table.write(self.out, self.device)
        except Exception as error:
            print(f"no table: {error!r}", flush=True)
            return ""

    def run(self, command, seconds):
        """Runs one command, and returns its status, or a word if it was stopped."""
        command, environment = self.command(command)
        with self.log.open("ab") as log:
            log.write(f"$ {' '.join(command)}\n".encode())
            log.flush()
            try:
                process = subprocess.Popen(
                    command, cwd=REPOSITORY, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            except OSError as error:
                log.write(f"{error}\n".encode())
                return "not started"
        self.group, stopped = process.pid, None
        end, most = time.monotonic() + seconds, self.log.stat().st_size + MOST_PRINTED
        while process.poll() is None and not stopped:
            time.sleep(0.05)
            if time.monotonic() > end:
                stopped = "cut off"
            elif self.log.stat().st_size > most:
                stopped = "printed too much"
        self.stop()
        return stopped or process.poll()

    def stop(self):
        """Ends what is left of a command. A program that hangs in the driver cannot be ended, and is left alone."""
        group, self.group = self.group, None
        for way, patience in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 2.0)):
            try:
                os.killpg(group, way)
                end = time.monotonic() + patience
                while time.monotonic() < end:
                    os.killpg(group, 0)
                    # A child that has ended is in its group until it is asked for.
                    try:
                        os.waitpid(-group, os.WNOHANG)
                    except ChildProcessError:
                        pass
                    time.sleep(0.05)
            except ProcessLookupError:
                return


def unpack(carry, work):
    """The folder of the programs, the library that is to be preloaded, if they were built with one, and what could not be unpacked.
    The steps that need that fail by themselves, and the others run."""
    archives = [archive for archive in (carry / "programs.tar.xz", carry / "tests.tar.xz") if archive.is_file()]
    if not archives:
        return carry, None, []
    failures = [failure for archive in archives for failure in kernels.extracted(archive, work)]
    try:
        # The tests look for their fixtures where they were built.
        root = Path((work / "root.txt").read_text().strip())
        if not root.exists():
            # One that leads nowhere.
            root.unlink(missing_ok=True)
            root.parent.mkdir(parents=True, exist_ok=True)
            root.symlink_to(REPOSITORY)
    except (OSError, ValueError) as error:
        failures.append(f"no link to the fixtures, so tests that need them fail: {error}")
    stub = work / "libllvm_stub.so"
    return work, stub if stub.is_file() else None, failures


def compiled(all_steps, programs):
    """What of these steps runs on the stand-in: our own programs, with time enough to compile."""
    names = os.listdir(programs) if programs.is_dir() else []
    ours = [(step, [command for command in step.commands if command[0] in names]) for step in all_steps]
    return [dataclasses.replace(step, commands=commands, limit=24 * 3600) for step, commands in ours if commands]


def on_a_gpu(carry, work):
    """The variables of our programs on a GPU, and what the user should know."""
    found = cuda.variables(cuda.homes())
    folder, notes = kernels.unpack(carry, work, cuda.versions(found))
    return found | kernels.variables(folder), notes


def on_the_stand_in(work):
    """The variables of our programs without a GPU, and the folder of the kernels that they compile."""
    found = cuda.variables(cuda.homes())
    if "CUDA_PATH" not in found:
        sys.exit(f"--compile needs CUDA's headers, and found none. Without a toolkit, get them for this Python: {cuda.wheels(cuda.of_the_card())}")
    folder = kernels.folder_to_compile(cuda.versions(found))
    path = {"LD_LIBRARY_PATH": f"{work}:{found['LD_LIBRARY_PATH']}"}
    return found | kernels.stand_in(found["CUDA_PATH"], work) | path | kernels.variables(folder), folder


def arguments_of(arguments):
    parser = argparse.ArgumentParser(prog="run.sh")
    way = parser.add_mutually_exclusive_group()
    way.add_argument("--rehearse", metavar="DEVICE", help="run small steps on this device, such as flex")
    way.add_argument("--compile", action="store_true", help="compile the kernels of all steps, without a GPU, into CARRY")
    return parser.parse_args(arguments)


def main():
    arguments = arguments_of(sys.argv[1:])
    if not os.environ.get("OUT"):
        sys.exit("OUT is not set: expected a folder for results")
    began, limit = time.monotonic(), float(os.environ.get("LIMIT", "inf" if arguments.compile else LIMIT))
    most = float(os.environ.get("STEP_LIMIT", "inf"))
    device = arguments.rehearse or "cuda"
    chosen = wanted(steps(device, REHEARSED if arguments.rehearse else REAL), os.environ.get("STEPS", "").split())
    out = Path(os.environ["OUT"]).resolve()
    out.mkdir(parents=True, exist_ok=True)
    carry = Path(os.environ.get("CARRY", REPOSITORY / "carry")).resolve()
    work = Path(tempfile.mkdtemp())
    try:
        programs, stub, notes = unpack(carry, work)
        compiling = None
        if arguments.compile:
            chosen = compiled(chosen, programs)
            if not chosen:
                sys.exit(f"{carry} has none of the programs of these steps: build.sh makes them")
            ours, compiling = on_the_stand_in(work)
        elif device == "cuda":
            ours, of_cuda = on_a_gpu(carry, work)
            notes += of_cuda
        else:
            ours = kernels.variables(kernels.folder_of(device))
        run = Run(out, programs, stub, device, ours)
        for note in notes:
            run.note(note)

        def packed():
            """Packs what was compiled, and returns the status of the run."""
            run.table()
            if failure := kernels.pack(compiling, carry):
                run.note(failure)
            return 1 if failure else 0

        def cut_off(*_):
            if run.group:
                run.stop()
            packed() if compiling else run.table()
            os._exit(143)

        signal.signal(signal.SIGTERM, cut_off)
        signal.signal(signal.SIGINT, cut_off)
        spare = 0.0
        for step in chosen:
            left = limit - (time.monotonic() - began)
            if left < 5:
                table.end(run.log, step.name, table.NOT_BEGUN, 0)
                continue
            begin, allowed = time.monotonic(), step.limit + spare
            run.step(step, min(allowed, left, most))
            spare = max(allowed - (time.monotonic() - begin), 0.0)
        if compiling:
            return packed()
        print(run.table())
        return 0 if table.is_passed(out) else 1
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
