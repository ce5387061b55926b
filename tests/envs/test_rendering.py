"""Pictures: the suite's own bit by bit, quick ones close to them, and a backend found or asked for."""

import os
import subprocess
import sys

import numpy as np
import pytest

from dreamer.config import EnvConfig
from dreamer.envs import make_env, rendering
from dreamer.errors import UserError


@pytest.fixture
def fresh_search(monkeypatch: pytest.MonkeyPatch):
    """Forget the backend found, for one test."""
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.delenv("PYOPENGL_PLATFORM", raising=False)
    rendering.find_backend.cache_clear()
    yield monkeypatch
    rendering.find_backend.cache_clear()


def test_egl_comes_before_osmesa(fresh_search: pytest.MonkeyPatch) -> None:
    fresh_search.setattr(sys, "platform", "linux")
    fresh_search.setattr(rendering, "_works", lambda backend: True)
    assert rendering.find_backend() == "egl"


def test_osmesa_is_taken_where_egl_does_not_work(fresh_search: pytest.MonkeyPatch) -> None:
    fresh_search.setattr(sys, "platform", "linux")
    fresh_search.setattr(rendering, "_works", lambda backend: backend == "osmesa")
    assert rendering.find_backend() == "osmesa"


def test_a_missing_backend_names_what_to_install(fresh_search: pytest.MonkeyPatch) -> None:
    fresh_search.setattr(rendering, "_works", lambda backend: False)
    with pytest.raises(UserError, match="apt-get install libegl1 libgl1-mesa-dri libosmesa6"):
        rendering.find_backend()


def test_the_users_choice_is_not_questioned(fresh_search: pytest.MonkeyPatch) -> None:
    fresh_search.setenv("MUJOCO_GL", "EGL")
    fresh_search.setattr(rendering, "_works", lambda backend: pytest.fail("another backend was tried"))
    assert rendering.find_backend() == "egl"


def test_osmesa_without_its_library_is_told(fresh_search: pytest.MonkeyPatch) -> None:
    fresh_search.setenv("MUJOCO_GL", "osmesa")
    fresh_search.setattr(rendering, "_works", lambda backend: False)
    with pytest.raises(UserError, match=r"MUJOCO_GL=osmesa needs its library .*libosmesa6.*--obs state"):
        rendering.find_backend()


@pytest.mark.parametrize("env", ["gym:HalfCheetah-v5", "dmc:cartpole_balance"])
def test_a_library_that_is_missing_does_not_matter_where_nothing_is_drawn(env: str) -> None:
    """In a process of its own, where `import mujoco` fails as it does without the library."""
    program = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name == "OpenGL.GL":
            raise AttributeError("'NoneType' object has no attribute 'glGetError'")
sys.meta_path.insert(0, Missing())
from dreamer.config import EnvConfig
from dreamer.envs import make_env
make_env(EnvConfig(env="{env}", obs="state")).reset(seed=0)
"""
    environment = {**os.environ, "MUJOCO_GL": "osmesa", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


@pytest.mark.parametrize("value", ["on", "1", "TRUE", "enable", ""])
def test_values_that_only_switch_drawing_on_let_a_backend_be_chosen(
    fresh_search: pytest.MonkeyPatch, value: str
) -> None:
    fresh_search.setenv("MUJOCO_GL", value)
    fresh_search.setattr(rendering, "_works", lambda backend: backend == "osmesa")
    assert rendering.find_backend() == os.environ["MUJOCO_GL"] == "osmesa"


@pytest.mark.parametrize("value", ["off", "0", "disabled", "FALSE"])
def test_drawing_switched_off_is_told(fresh_search: pytest.MonkeyPatch, value: str) -> None:
    fresh_search.setenv("MUJOCO_GL", value)
    with pytest.raises(
        UserError, match=f"MUJOCO_GL={value} switches drawing off: unset it, or .*--obs state"
    ):
        rendering.find_backend()


@pytest.mark.parametrize("variable", ["MUJOCO_GL", "PYOPENGL_PLATFORM"])
def test_a_backend_of_no_known_name_is_told(fresh_search: pytest.MonkeyPatch, variable: str) -> None:
    fresh_search.setenv(variable, "EGLL")
    with pytest.raises(UserError, match="'EGLL', which is none of egl, osmesa and glfw: unset it"):
        rendering.find_backend()


@pytest.mark.parametrize("value", ["glfw", "GLX"])
def test_a_window_system_that_is_not_there_is_told(fresh_search: pytest.MonkeyPatch, value: str) -> None:
    fresh_search.setenv("MUJOCO_GL", value)
    fresh_search.setattr(rendering, "_works", lambda backend: False)
    with pytest.raises(UserError, match=f"MUJOCO_GL={value} needs a display"):
        rendering.find_backend()


def test_gymnasium_reads_the_backend_in_lower_case(fresh_search: pytest.MonkeyPatch) -> None:
    fresh_search.setenv("MUJOCO_GL", "EGL")
    assert rendering.find_backend() == os.environ["MUJOCO_GL"] == "egl"


def test_a_backend_that_cannot_work_here_counts_as_failed() -> None:
    assert not rendering._works("no_such_backend")


def run(program: str, **environment: str) -> subprocess.CompletedProcess:
    """Run a program in a process of its own, in which no OpenGL has been loaded."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env={"PYTHONPATH": ":".join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


COMPARE = """
import numpy as np
from dm_control import suite
from dreamer.config import EnvConfig
from dreamer.envs import make_env
from dreamer.envs.rendering import find_backend
for name, camera in [("walker_walk", 0), ("quadruped_walk", 2)]:
    env = make_env(EnvConfig(env="dmc:" + name, render="canonical"))
    ours = env.reset(seed=3)[0]["image"]
    theirs = suite.load(*name.split("_"), {"random": np.random.RandomState(3)})
    theirs.reset()
    wanted = theirs.physics.render(64, 64, camera_id=camera)
    print(np.array_equal(ours, wanted), ours.shape, ours.dtype, ours.std() > 20)
    env.close()
    theirs.close()
"""


@pytest.mark.render
@pytest.mark.parametrize("backend", ["egl", "osmesa"])
def test_canonical_pictures_are_the_suites_own(backend: str) -> None:
    if not rendering._works(backend):
        pytest.skip(f"{backend} is not installed")
    # dm_control is imported first, so that it draws by itself.
    result = run(COMPARE, MUJOCO_GL=backend)
    assert result.stdout.splitlines() == ["True (64, 64, 3) uint8 True"] * 2, result.stderr


@pytest.mark.render
def test_an_environment_left_open_ends_without_a_word() -> None:
    program = "from dreamer.config import EnvConfig; from dreamer.envs import make_env\n"
    program += "env = make_env(EnvConfig(env='{}', render='fast')); env.reset(seed=0); print('drawn')"
    for name in ("dmc:cartpole_balance", "gym:InvertedPendulum-v5"):
        result = run(program.format(name))
        assert (result.stdout, result.stderr, result.returncode) == ("drawn\n", "", 0)


@pytest.mark.render
def test_a_users_own_mujoco_robot_is_drawn() -> None:
    env = make_env(EnvConfig(env="gym:sample_robot:Robot-v0", render="fast"))
    assert env.reset(seed=0)[0]["image"].std() > 5
    env.close()


@pytest.mark.render
def test_a_backend_that_fails_is_named() -> None:
    program = "from dreamer.envs.rendering import make_context; make_context(64)"
    result = run(program, MUJOCO_GL="cgl")
    assert "Drawing with MUJOCO_GL=cgl does not work here" in result.stderr


def picture(name: str, quality, seed: int = 0) -> np.ndarray:
    env = make_env(EnvConfig(env=name, render=quality))
    image = env.reset(seed=seed)[0]["image"]
    env.close()
    return image.astype(np.int64)


@pytest.mark.render
@pytest.mark.parametrize(("name", "difference"), [("dmc:cartpole_swingup", 3), ("dmc:walker_walk", 10)])
def test_fast_pictures_are_near_the_canonical_ones(name: str, difference: float) -> None:
    canonical, fast = picture(name, "canonical"), picture(name, "fast")
    assert 0 < np.abs(canonical - fast).mean() < difference
    # Not merely a gray mean of it: where another state differs in a pixel, both qualities see it.
    moved = np.abs(picture(name, "fast", seed=1) - fast).max()
    assert moved > 50


@pytest.mark.render
def test_several_environments_draw_in_turns() -> None:
    config = EnvConfig(env="dmc:walker_walk", render="fast")
    first, second = make_env(config), make_env(config)
    alone = first.reset(seed=1)[0]["image"]
    assert (second.reset(seed=2)[0]["image"] != alone).any()
    np.testing.assert_array_equal(second.reset(seed=1)[0]["image"], alone)
    np.testing.assert_array_equal(first.reset(seed=1)[0]["image"], alone)
    first.close()
    np.testing.assert_array_equal(second.reset(seed=1)[0]["image"], alone)
    second.close()


@pytest.mark.render
def test_new_terrain_is_drawn() -> None:
    env = make_env(EnvConfig(env="dmc:quadruped_escape", render="fast"))
    first = env.reset(seed=1)[0]["image"]
    assert (env.reset(seed=2)[0]["image"] != first).mean() > 0.1
    np.testing.assert_array_equal(env.reset(seed=1)[0]["image"], first)
    env.close()


@pytest.mark.render
@pytest.mark.parametrize("size", [32, 84])
def test_pictures_of_other_sizes(size: int) -> None:
    env = make_env(EnvConfig(env="dmc:cartpole_balance", render="fast", image_size=size))
    assert env.reset(seed=0)[0]["image"].shape == (size, size, 3)
    env.close()


@pytest.mark.parametrize(
    ("version", "warnings"), [("3.6.0", 0), ("3.11.0", 0), ("3.12.0", 1), ("3.5.0", 1), ("4.0.0", 1)]
)
def test_mujoco_of_other_pictures_is_warned_of_once(
    version: str, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    rendering.warn_of_other_pictures.cache_clear()
    for _ in range(2):
        rendering.warn_of_other_pictures(version)
    assert len(caplog.messages) == warnings
    rendering.warn_of_other_pictures.cache_clear()
