#!/usr/bin/env bash
# Make a virtual environment and install this project into it, editable, with torch first.
# Usage: install-venv.sh PYTHON VENV TARGET [CONSTRAINTS]
# TARGET is '.' or '.[dev]'. CONSTRAINTS is a file of exact versions; without it pip takes the newest.
set -euo pipefail

python=$1 venv=$2 target=$3 constraints=${4:-}
here=$(dirname "${BASH_SOURCE[0]}")
cpu_index=https://download.pytorch.org/whl/cpu

# Debian keeps ensurepip, without which a virtual environment has no pip, in a package of its own for each Python.
if [ ! -x "$venv/bin/pip" ]; then
    python=$("$here/find-python.sh" "$python")
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    "$python" -c 'import ensurepip' 2>/dev/null || "$here/apt-install.sh" "python$version-venv"
    "$python" -m venv "$venv"
fi

install=("$venv/bin/pip" install -qq)
[ -z "$constraints" ] || install+=(--constraint "$constraints")

# PyPI's torch for Linux brings gigabytes of CUDA libraries. Without an NVIDIA GPU they are of no use, so
# PyTorch's own CPU index is offered beside PyPI: pip prefers `2.x+cpu` to `2.x`. Where the index cannot be
# reached (a closed network, a mirror), pip's own configuration decides; it may offer a CPU build as well.
install_torch=("${install[@]}")
if ! command -v nvidia-smi >/dev/null \
    && timeout 6 "$venv/bin/python" -c \
        "import urllib.request as u; u.urlopen('$cpu_index/torch/', timeout=5)" 2>/dev/null; then
    install_torch+=(--extra-index-url "$cpu_index")
fi

echo "Installing PyTorch (this can take some minutes) ..." >&2
torch=$("$venv/bin/python" -c "
import tomllib
needs = tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies']
print(next(need for need in needs if need.startswith('torch')))")
"${install_torch[@]}" "$torch"
echo "Installing dreamer ..." >&2
"${install[@]}" --editable "$target"
