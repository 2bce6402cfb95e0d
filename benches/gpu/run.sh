#!/usr/bin/env bash
# Runs tests and benchmarks on a GPU, the most important first, and writes one table. A run that is cut off leaves the results
# of every step up to there. It needs Python 3.12 or newer, and PyTorch and transformers for the comparison.
#
#   OUT=results benches/gpu/run.sh                      # on the machine with the GPU; carry/ is what build.sh wrote
#   OUT=rehearsal benches/gpu/run.sh --rehearse flex      # the same steps, small, on another device
#   OUT=compiled benches/gpu/run.sh --compile             # writes CARRY/kernels.tar.xz: the kernels, compiled without a GPU
#
# rehearse.py tests it with programs that fail in every way.
#
# Writes to the folder OUT: log.txt, everything that the steps printed; results.md and results.json, made from it after each step.
# A second run with the same OUT adds to them: a step that ran again replaces its former results.
#
# | variable | meaning |
# |---|---|
# | OUT | the folder for results |
# | CARRY | the folder with programs.tar.xz, tests.tar.xz and kernels.tar.xz, or with the programs themselves [carry] |
# | KERNELS | the folder in which compiled kernels are kept from run to run [target/kernels] |
# | CARD_CUDA | for --compile: the version of CUDA of the card's driver, which takes no kernels of a newer NVRTC [13.0] |
# | LIMIT | seconds for everything [570] |
# | STEP_LIMIT | seconds for each step at most [its own limit, in run.py, and what the steps before it left of theirs] |
# | STEPS | the steps to run, separated by spaces, each by a name in run.py [all] |
# | PYTHON | a Python with torch and transformers [python3] |
exec "${PYTHON:-python3}" "$(dirname "$0")/run.py" "$@"
