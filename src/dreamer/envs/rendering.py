"""MuJoCo pictures without a display: finding an OpenGL backend, and drawing with it.

Pictures are drawn with MuJoCo's own functions and one context kept per environment, in the process that
asks for the first one. `canonical` pictures equal those of dm_control's `physics.render` bit by bit;
`fast` ones are without shadows, reflections and multisampling (docs/rendering.md has both side by side).
"""

import functools
import importlib
import os
import subprocess
import sys
from typing import Any, Literal

import numpy as np

from dreamer.errors import UserError

_CANDIDATES = {"linux": ("egl", "osmesa"), "darwin": ("cgl",), "win32": ("glfw",)}
_PROBE = """
import importlib, mujoco, sys
context = importlib.import_module("mujoco." + sys.argv[1]).GLContext(64, 64)
context.make_current()
mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), 100).free()
context.free()
"""
_PROBE_SECONDS = 60


@functools.cache
def find_backend() -> str:
    """Return the name of an OpenGL backend that works here, and set MUJOCO_GL to it.

    A MUJOCO_GL or PYOPENGL_PLATFORM that is set already is taken as it is. Otherwise EGL and then OSMesa
    are tried in a child process, because a failed attempt cannot be undone in the process that made it.

    Raises:
        UserError: none works; the message names what to install.
    """
    chosen = os.environ.get("MUJOCO_GL") or os.environ.get("PYOPENGL_PLATFORM")
    if chosen:
        return chosen.lower()
    for backend in _CANDIDATES.get(sys.platform, ("egl", "osmesa")):
        if _works(backend):
            os.environ["MUJOCO_GL"] = backend
            return backend
    raise UserError(
        "No OpenGL library was found to draw with; install one with "
        "`apt-get install libegl1 libgl1-mesa-dri libosmesa6`, or learn without images: --obs state."
    )


def _works(backend: str) -> bool:
    """Whether a child process can make a context with this backend."""
    environment = os.environ | {"MUJOCO_GL": "disabled", "PYOPENGL_PLATFORM": backend}
    command = [sys.executable, "-c", _PROBE, backend]
    try:
        return subprocess.run(command, env=environment, capture_output=True, timeout=_PROBE_SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def make_context(width: int, height: int) -> Any:
    """Return a current OpenGL context of MuJoCo's. Raises `UserError` if that fails."""
    backend = find_backend()
    try:
        context = importlib.import_module(f"mujoco.{backend}").GLContext(width, height)
        context.make_current()
    except Exception as error:
        raise UserError(
            f"Drawing with MUJOCO_GL={backend} does not work ({error}); unset MUJOCO_GL to have one chosen."
        ) from error
    return context


class Camera:
    """One camera of a MuJoCo model; draws `(size, size, 3)` uint8 pictures.

    The context is made with the first picture, in the process and thread that asks for it.
    """

    def __init__(self, model: Any, camera: int, size: int, quality: Literal["canonical", "fast"]) -> None:
        import mujoco

        self._model = model
        self._size = size
        self._fast = quality == "fast"
        if self._fast:
            model.vis.quality.shadowsize = 0
            model.vis.quality.offsamples = 0
        self._scene = mujoco.MjvScene(model, maxgeom=1000)
        self._option = mujoco.MjvOption()
        self._perturb = mujoco.MjvPerturb()
        self._view = mujoco.MjvCamera()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._view.fixedcamid = camera
        self._viewport = mujoco.MjrRect(0, 0, size, size)
        self._gl = None
        self._context = None
        if self._fast:
            self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = False
            self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False

    def draw(self, data: Any) -> np.ndarray:
        import mujoco

        if self._context is None:
            self._open()
        self._gl.make_current()
        mujoco.mjv_updateScene(
            self._model, data, self._option, self._perturb, self._view, mujoco.mjtCatBit.mjCAT_ALL, self._scene
        )
        mujoco.mjr_render(self._viewport, self._scene, self._context)
        pixels = np.empty((self._size, self._size, 3), np.uint8)
        mujoco.mjr_readPixels(pixels, None, self._viewport, self._context)
        return pixels[::-1].copy()  # OpenGL's first row is the bottom one.

    def _open(self) -> None:
        import mujoco

        self._gl = make_context(self._size, self._size)
        self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_150)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)

    def close(self) -> None:
        if self._context is not None:
            self._gl.make_current()
            self._context.free()
            self._gl.free()
            self._context = self._gl = None
