#!/usr/bin/env bash
# Make sure that MuJoCo can draw without a screen, with EGL or OSMesa. Does nothing if it can.
# Usage: install-gl.sh [PYTHON]
set -euo pipefail

python=${1:-python3}
here=$(dirname "${BASH_SOURCE[0]}")

# macOS and Windows bring their own OpenGL.
[ "$(uname -s)" = Linux ] || exit 0

gl_works() {
    EGL_LOG_LEVEL=fatal "$python" - <<'PYTHON'
from ctypes import CDLL, CFUNCTYPE, POINTER, byref, c_char_p, c_int, c_uint, c_void_p


def loaded(*names):
    """The first of these libraries that is there."""
    for name in names:
        try:
            return CDLL(name)
        except OSError:
            continue
    return None


def initializes(egl):
    """Whether some device gives a display: libEGL itself only looks for drivers, and may find none."""
    address = CFUNCTYPE(c_void_p, c_char_p)(("eglGetProcAddress", egl))
    query, display = address(b"eglQueryDevicesEXT"), address(b"eglGetPlatformDisplayEXT")
    if not query or not display:
        return False
    devices, count = (c_void_p * 16)(), c_int()
    CFUNCTYPE(c_uint, c_int, POINTER(c_void_p), POINTER(c_int))(query)(16, devices, byref(count))
    display = CFUNCTYPE(c_void_p, c_uint, c_void_p, c_void_p)(display)
    initialize = CFUNCTYPE(c_uint, c_void_p, c_void_p, c_void_p)(("eglInitialize", egl))
    platform_device = 0x313F
    return any(initialize(display(platform_device, d, None), None, None) for d in devices[: count.value])


egl = loaded("libEGL.so.1")
works = bool(egl and initializes(egl)) or loaded("libOSMesa.so.8", "libOSMesa.so.6")
raise SystemExit(0 if works else 1)
PYTHON
}

gl_works && exit 0
# EGL for the context, Mesa's driver for machines without a graphics card, libGL for PyOpenGL.
"$here/apt-install.sh" libegl1 libgl1 libgl1-mesa-dri
gl_works || {
    echo "EGL finds no driver to draw with. Please run: apt-get install libosmesa6" >&2
    exit 1
}
