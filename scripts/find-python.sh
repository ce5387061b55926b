#!/usr/bin/env bash
# Print a Python that this project runs with: the one given if it fits, else another one on this machine.
# Usage: find-python.sh PYTHON
set -euo pipefail

version() {
    "$1" --version 2>/dev/null || echo "not there"
}

fits() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null
}

find_python() {
    for python in "$1" python3.12 python3.11; do
        if fits "$python"; then
            [ "$python" = "$1" ] || echo "$1 is $(version "$1"): taking $python." >&2
            echo "$python"
            exit 0
        fi
    done
}

find_python "$1"
# A fresh image may have no Python at all.
if [ "$1" = python3 ] && ! command -v python3 >/dev/null && "${BASH_SOURCE[0]%/*}/apt-install.sh" python3; then
    find_python "$1"
fi
echo "$1 is $(version "$1"), and this needs 3.11 or 3.12: labmaze, a part of dm-control, has no wheels for newer" \
    "ones. Please install Python 3.12, for example by 'uv python install 3.12' or 'pyenv install 3.12', and run" \
    "make PYTHON=/path/to/python3.12 ..." >&2
exit 1
