"""MuJoCo images without a display: finding an OpenGL backend, and drawing with it.

Images are drawn with MuJoCo's own functions and one OpenGL context per environment, in the process that asks for
the first image. `canonical` images equal those of dm_control's `physics.render` bit by bit. `fast` images have no
shadows, reflections and multisampling (docs/rendering.md shows both).
"""

import functools
import importlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np

from dreamer.errors import UserError

_logger = logging.getLogger(__name__)

Quality = Literal["canonical", "fast"]

_CANDIDATES = {"linux": ("egl", "osmesa"), "darwin": ("cgl",), "win32": ("glfw",)}
_ON = ("", "1", "on", "true", "enable", "enabled")
_OFF = ("0", "off", "false", "disable", "disabled")
"""Values of MUJOCO_GL that name no backend."""

_BACKENDS = ("egl", "osmesa", "glfw", "glx", "cgl")
"""Names of backends; MuJoCo has no other, and GLX is what GLFW uses."""

_NEEDS = {"glfw": "a display", "osmesa": "its library (apt-get install libosmesa6)"}

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

    A backend named by MUJOCO_GL or PYOPENGL_PLATFORM is taken, in any spelling that MuJoCo knows. Otherwise EGL
    and then OSMesa are tried in a child process, because a failed attempt cannot be undone in the process that
    made it.

    Raises:
        UserError: none works (the message names what to install), MUJOCO_GL switches drawing off, names nothing
            known, or names GLFW or OSMesa where that does not work.
    """
    given = os.environ.get("MUJOCO_GL") or os.environ.get("PYOPENGL_PLATFORM") or ""
    chosen = given.strip().lower()
    if chosen in _OFF:
        raise UserError(
            f"MUJOCO_GL={given} switches drawing off: unset it, or learn without images (--obs state)."
        )
    if chosen not in (*_ON, *_BACKENDS):
        raise UserError(
            f"MUJOCO_GL or PYOPENGL_PLATFORM is {given!r}, which is none of egl, osmesa and glfw: unset it to have a "
            "backend chosen, or learn without images (--obs state)."
        )
    if chosen not in _ON:
        backend = "glfw" if chosen == "glx" else chosen
        # Of these a child process tries first: they fail late, GLFW without a display and OSMesa without its library.
        if backend in _NEEDS and not _works(backend):
            raise UserError(
                f"MUJOCO_GL={given} needs {_NEEDS[backend]}: unset it to have a backend chosen, or learn without "
                "images (--obs state)."
            )
        os.environ["MUJOCO_GL"] = backend
        return backend
    for backend in _CANDIDATES.get(sys.platform, ("egl", "osmesa")):
        if _works(backend):
            os.environ["MUJOCO_GL"] = backend
            return backend
    raise UserError(
        "No OpenGL library was found to draw with: install one with "
        "`apt-get install libegl1 libgl1-mesa-dri libosmesa6`, or learn without images (--obs state)."
    )


@contextmanager
def drawing_off() -> Iterator[None]:
    """Let MuJoCo be imported without a way to draw, whatever MUJOCO_GL says."""
    before = os.environ.get("MUJOCO_GL")
    os.environ["MUJOCO_GL"] = "disabled"
    try:
        yield
    finally:
        del os.environ["MUJOCO_GL"]
        if before is not None:
            os.environ["MUJOCO_GL"] = before


def _works(backend: str) -> bool:
    """Whether a child process can make a context with this backend. A child that hangs counts as failed."""
    environment = os.environ | {"MUJOCO_GL": "disabled", "PYOPENGL_PLATFORM": backend}
    command = [sys.executable, "-P", "-c", _PROBE, backend]  # -P: nothing is imported from the current folder
    try:
        subprocess.run(command, check=True, env=environment, capture_output=True, timeout=_PROBE_SECONDS)
    except subprocess.SubprocessError:
        return False
    return True


def make_context(size: int) -> Any:
    """Make an OpenGL context of MuJoCo and make it current. Raises `UserError` if that fails."""
    backend = find_backend()
    # Mesa's software rasteriser starts a thread per core, which costs more than it gives at this size.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    try:
        context = importlib.import_module(f"mujoco.{backend}").GLContext(size, size)
        context.make_current()
    except Exception as error:  # PyOpenGL fails in many ways: ImportError, AttributeError, GLError, ...
        raise UserError(
            f"Drawing with MUJOCO_GL={backend} does not work here ({error}): unset MUJOCO_GL and "
            "PYOPENGL_PLATFORM to have a backend chosen, or learn without images (--obs state)."
        ) from error
    return context


def simplify(model: Any) -> None:
    """Change a MuJoCo model so that its images are `fast`. Call this before the first image is drawn."""
    model.vis.quality.shadowsize = 0
    model.vis.quality.offsamples = 0
    model.mat_reflectance[:] = 0
    # Fewer faces of spheres and cylinders change an image of 64 x 64 pixels by 0.15 of 255 on average.
    model.vis.quality.numslices = 16
    model.vis.quality.numstacks = 8


@functools.cache
def warn_of_other_pictures(version: str) -> None:
    """Warn once if this MuJoCo draws otherwise than the one of the published results (docs/differences.md)."""
    if not (3, 6) <= tuple(int(number) for number in version.split(".")[:2]) < (3, 12):
        _logger.warning(
            "MuJoCo %s draws other pictures than MuJoCo 3.6 to 3.11, with which the published scores were measured.",
            version,
        )


class Camera:
    """Draw uint8 images `(size, size, 3)` with one fixed camera of a MuJoCo model.

    The OpenGL context is made for the first image, in the process and thread that asks for it. `close` must free it
    before the process ends.
    """

    MAX_GEOMS = 10_000
    """Largest number of geoms in the scene, as in MuJoCo's own renderer."""

    def __init__(self, model: Any, camera: int, size: int) -> None:
        mujoco: Any = importlib.import_module("mujoco")
        self._mujoco = mujoco
        warn_of_other_pictures(mujoco.__version__)
        self._model = model
        self._size = size
        self._scene = mujoco.MjvScene(model, maxgeom=self.MAX_GEOMS)
        self._option = mujoco.MjvOption()
        self._perturb = mujoco.MjvPerturb()
        self._view = mujoco.MjvCamera()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._view.fixedcamid = camera
        self._viewport = mujoco.MjrRect(0, 0, size, size)
        self._gl: Any = None
        self._context: Any = None

    def draw(self, data: Any) -> np.ndarray:
        """Draw the state `data` (an `MjData` of the camera's model)."""
        self._make_current()
        everything = self._mujoco.mjtCatBit.mjCAT_ALL
        self._mujoco.mjv_updateScene(
            self._model, data, self._option, self._perturb, self._view, everything, self._scene
        )
        self._mujoco.mjr_render(self._viewport, self._scene, self._context)
        pixels = np.empty((self._size, self._size, 3), np.uint8)
        self._mujoco.mjr_readPixels(pixels, None, self._viewport, self._context)
        return pixels[::-1].copy()  # OpenGL's first row is the bottom one.

    def upload_terrain(self) -> None:
        """Show height fields that changed since the last image (`quadruped_escape` grows new ones)."""
        if self._context is None:
            return  # The first image uploads them in any case.
        self._make_current()
        for index in range(self._model.nhfield):
            self._mujoco.mjr_uploadHField(self._model, self._context, index)

    def _make_current(self) -> None:
        if self._context is not None:
            self._gl.make_current()
            return
        buffer = self._model.vis.global_
        buffer.offwidth = max(buffer.offwidth, self._size)
        buffer.offheight = max(buffer.offheight, self._size)
        self._gl = make_context(self._size)
        self._context = self._mujoco.MjrContext(self._model, self._mujoco.mjtFontScale.mjFONTSCALE_150)
        self._mujoco.mjr_setBuffer(self._mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)

    def close(self) -> None:
        """Free the OpenGL context. The next image makes a new one."""
        if self._context is None:
            return
        self._gl.make_current()
        self._context.free()
        self._gl.free()
        self._context = self._gl = None
