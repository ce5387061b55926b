#!/usr/bin/env bash
# One call on a machine with a GPU: checks, measures and trains, in under ten minutes by default.
#
#   benchmarks/gpu.sh --out results            again with the same --logdir: goes on training
#   benchmarks/gpu.sh --out results --smoke    every part at tiny sizes, on a CPU too
#
# Needs Python 3.11 or newer (PYTHON, by default python3) with the packages of pyproject.toml, no installation.
# On a machine without internet, what is missing comes from .whl and .gl, which benchmarks/offline.py has filled
# elsewhere; it is unpacked under build/offline, and nothing else of the machine is changed.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3} unpacked=$PWD/build/offline
export PYTHONPATH="$PWD/src${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1

newer() { # Is there anything in folder $1 that was not yet there when $2 was unpacked?
    compgen -G "$1/*" >/dev/null && { [ ! -e "$2.done" ] || [ -n "$(find "$1" -newer "$2.done" -print -quit)" ]; }
}

if newer .whl "$unpacked/site"; then
    rm -rf "$unpacked/site" && mkdir -p "$unpacked"
    "$python" -m pip install --quiet --no-index --no-deps --no-compile --target "$unpacked/site" .whl/*.whl &&
        touch "$unpacked/site.done" || echo "The wheels in .whl do not fit $python: going on without them." >&2
fi
[ ! -d "$unpacked/site" ] || export PYTHONPATH="$PYTHONPATH:$unpacked/site"

if newer .gl "$unpacked/gl"; then
    rm -rf "$unpacked/gl" && mkdir -p "$unpacked/gl"
    for package in .gl/*.deb; do dpkg-deb --extract "$package" "$unpacked/gl"; done && touch "$unpacked/gl.done" ||
        echo "The packages in .gl could not be unpacked: going on without them." >&2
fi
# Libraries of the machine's own come first; a driver describes itself to EGL in one of these folders.
if [ -d "$unpacked/gl" ] && ! ldconfig -p | grep libEGL.so.1 >/dev/null; then
    export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$unpacked/gl/usr/lib/$(uname -m)-linux-gnu"
fi
driver=/usr/local/nvidia/share/glvnd/egl_vendor.d/10_nvidia.json
if [ -e "$driver" ] && ! compgen -G "/usr/share/glvnd/egl_vendor.d/*nvidia*" >/dev/null; then
    export __EGL_VENDOR_LIBRARY_FILENAMES=${__EGL_VENDOR_LIBRARY_FILENAMES:-$driver}
fi

"$python" -c "import tyro, torch" || {
    echo "Packages of pyproject.toml are missing: install them, or bring them along by benchmarks/offline.py." >&2
    exit 1
}
exec "$python" benchmarks/gpu.py "$@"
