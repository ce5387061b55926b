#!/usr/bin/env bash
# Make sure that MuJoCo can draw without a screen: libEGL or libOSMesa must load. Does nothing if one does.
# Usage: install-gl.sh [PYTHON]
set -euo pipefail

python=${1:-python3}
here=$(dirname "${BASH_SOURCE[0]}")

# macOS and Windows bring their own OpenGL.
[ "$(uname -s)" = Linux ] || exit 0

gl_loads() {
    "$python" - <<'PYTHON'
import ctypes

for name in ("libEGL.so.1", "libOSMesa.so.8", "libOSMesa.so.6"):
    try:
        ctypes.CDLL(name)
    except OSError:
        continue
    raise SystemExit(0)
raise SystemExit(1)
PYTHON
}

gl_loads && exit 0
# EGL for the context, Mesa's driver for machines without a graphics card, libGL for PyOpenGL.
"$here/apt-install.sh" libegl1 libgl1 libgl1-mesa-dri
gl_loads
