"""Whatever an environment raises is told in one sentence, with the place in the user's file."""

import logging
import sys

import numpy as np
import pytest

from dreamer.config import EnvConfig
from dreamer.envs import EnvError, VectorEnv, make_env
from dreamer.errors import UserError
from dreamer.training.signals import Interrupt


def name_of(sample: str) -> str:
    return f"gym:sample_environments:{sample}-v0"


def sentence(sample: str, obs) -> str:
    """Make, reset, and step three times; one of these must fail."""

    def use() -> None:
        env = make_env(EnvConfig(env=name_of(sample), obs=obs, action_repeat=1))
        env.reset(seed=0)
        for _ in range(3):
            env.step(np.zeros(2, np.float32))

    with pytest.raises(UserError) as caught:
        use()
    return str(caught.value)


@pytest.mark.parametrize(
    ("sample", "obs", "words", "place"),
    [
        ("Raises", "state", "raised ZeroDivisionError in step: division by zero", "in reward)"),
        ("RaisesInReset", "state", "raised KeyError in reset: 'the arm'", "in reset)"),
        ("RaisesInRender", "image", "raised OSError in render: no display", "in render)"),
        ("RaisesInInit", "state", "raised ValueError in make: no robot found", "in __init__)"),
        ("LeavesInInit", "state", "raised SystemExit in make: 3", "in __init__)"),
        ("RaisesInSpace", "state", "raised NotImplementedError in make: later", "in observation_space)"),
        ("RaisesWithoutAWord", "state", "raised AssertionError in step (", "in reward)"),
        ("OldStep", "state", "returns 4 values from step, as before Gymnasium 0.26", "line"),
        ("OldStepLimited", "state", "returns 4 values from step, as before Gymnasium 0.26", "line"),
        (
            "NoInfoLater",
            "state",
            "must return observation, reward, terminated, truncated, info (a dict)",
            "line",
        ),
        ("DrawnNothingLater", "image", "returned no image from render", "line"),
        ("OldReset", "state", "must return observation, info from reset", "line"),
        ("ResetWithoutSeed", "state", "it must take reset(self, *, seed=None, options=None)", "line"),
        ("ForgetsRenderMode", "image", "render_mode", ""),
        ("NoSpaces", "state", "has no observation_space", ""),
        ("NoEnv", "state", "must inherit from the gymnasium.Env class", ""),
        ("NoRenderMode", "image", "its __init__ must take render_mode, or use --obs state", ""),
        ("NeedsArgument", "state", "'robot'; give it by --env-args NAME=VALUE", ""),
    ],
)
def test_failure_is_one_sentence_with_its_place(sample: str, obs, words: str, place: str) -> None:
    told = sentence(sample, obs)
    assert told.startswith(name_of(sample))
    assert words in told
    assert place in told
    assert not place or "sample_environments.py, line " in told
    assert "\n" not in told
    assert told.endswith(".")


def test_what_another_episode_may_cure_is_told_from_a_mistake() -> None:
    failures = {}
    for sample in ("Raises", "NanReward", "OldStep", "NoInfoLater"):
        env = make_env(EnvConfig(env=name_of(sample), obs="state", action_repeat=3))
        env.reset(seed=0)
        with pytest.raises(EnvError) as caught:
            env.step(np.zeros(2, np.float32))
        failures[sample] = caught.value.passing
    assert [sample for sample, passing in failures.items() if not passing] == ["OldStep", "NoInfoLater"]


@pytest.mark.parametrize(
    ("how", "name"), [("base", "Ends"), ("window", "KeyboardInterrupt"), ("unprintable", "UnprintableError")]
)
def test_an_exception_of_any_class_is_a_failure(how: str, name: str) -> None:
    """Also `KeyboardInterrupt`, where Ctrl-C does not raise it."""
    config = EnvConfig(env=name_of("RaisesAnything"), obs="state", env_args=(f"how={how}",))
    env = make_env(config)
    env.reset(seed=0)
    with (
        Interrupt(),
        pytest.raises(EnvError, match=rf"raised {name} in step \(.*sample_environments\.py, line"),
    ):
        env.step(np.zeros(2, np.float32))


def test_ctrl_c_is_no_failure() -> None:
    env = make_env(EnvConfig(env=name_of("RaisesAnything"), obs="state", env_args=("how=window",)))
    env.reset(seed=0)
    with pytest.raises(KeyboardInterrupt):
        env.step(np.zeros(2, np.float32))


def test_missing_package_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [module for module in sys.modules if module.startswith(("Box2D", "gymnasium.envs.box2d"))]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "Box2D", None)
    with pytest.raises(
        UserError, match=r"LunarLander-v3 raised DependencyNotInstalled in make: .*pip install"
    ):
        make_env(EnvConfig(env="gym:LunarLander-v3", obs="state"))


def test_failing_close_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    env = make_env(EnvConfig(env=name_of("RaisesInClose"), obs="state"))
    with caplog.at_level(logging.WARNING):
        env.close()
    [record] = caplog.records
    assert "raised RuntimeError in close: already closed (" in record.getMessage()


def test_leaving_in_close_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        make_env(EnvConfig(env=name_of("LeavesInClose"), obs="state")).close()
    assert "raised SystemExit in close: 3 (" in caplog.text


def test_an_environment_is_closed_once(caplog: pytest.LogCaptureFixture) -> None:
    env = make_env(EnvConfig(env=name_of("RaisesInCloseAgain"), obs="state"))
    with caplog.at_level(logging.WARNING):
        env.close()
        env.close()
    assert not caplog.records


def test_failure_in_a_worker_is_told_without_a_traceback(capfd: pytest.CaptureFixture) -> None:
    with pytest.raises(
        UserError, match=r"raised KeyError in reset: 'the arm' \(.*sample_environments\.py, line"
    ):
        VectorEnv(EnvConfig(env=name_of("RaisesInReset"), obs="state"), 1, workers=True)
    assert "Traceback" not in capfd.readouterr().err
