#!/usr/bin/env bash
# Write the exact versions that pip chooses today, with no constraints, to a constraints file.
# Usage: lock.sh PYTHON CONSTRAINTS
set -euo pipefail

python=$1 constraints=$2
here=$(dirname "${BASH_SOURCE[0]}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A newer Python may be offered versions that the oldest supported one cannot install.
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
    echo "$python is $("$python" --version 2>&1), not Python 3.11: make lock PYTHON=python3.11" >&2
    exit 1
}

"$here/install-venv.sh" "$python" "$work/venv" '.[dev,test-envs,atari,classic,ray]'
{
    echo "# Written by 'make lock'; used by 'make' for every installation. Versions that the test suite passed with."
    echo "# Without PyTorch and its CUDA libraries: which build is right depends on the machine."
    "$work/venv/bin/pip" freeze --exclude-editable --exclude pip --exclude setuptools --exclude wheel |
        grep -viE '^(torch|triton|nvidia|cuda)\b|[-_]cu[0-9]+\b'
} >"$work/constraints.txt"
mv "$work/constraints.txt" "$constraints"
echo "Wrote $constraints. Run .ci/run before you commit it." >&2
