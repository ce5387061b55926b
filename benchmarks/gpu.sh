#!/usr/bin/env bash
# One call on a machine with a GPU: checks, measures and trains, in under ten minutes by default.
#
#   benchmarks/gpu.sh --out results            again with the same --logdir: goes on training
#   benchmarks/gpu.sh --out results --smoke    every part at tiny sizes, on a CPU too
#
# Needs Python 3.11 or newer (PYTHON, by default python3) with the packages of pyproject.toml, no installation.
set -euo pipefail
cd "$(dirname "$0")/.."
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
exec "${PYTHON:-python3}" benchmarks/gpu.py "$@"
