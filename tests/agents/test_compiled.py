"""The compiled update: the same but for rounding, and nothing of it is left when it is over."""

import functools
import shutil
from typing import Any

import pytest
import torch

from agents.test_agent_kinds import BOX, BUTTONS, agent_of, random_batch
from bench.small import config
from dreamer.agents import compiled
from dreamer.agents.captured import make_update
from dreamer.agents.compiled import Compiled
from dreamer.agents.dreamer import Dreamer
from dreamer.agents.make import make_agent
from dreamer.behavior.actor import sample_tanh_normal
from dreamer.bench.agreement import compare_paths
from dreamer.errors import UserError
from dreamer.spec import ActionSpec, EnvSpec
from dreamer.world_model.elementwise import FORMULAS, PLAIN

compiles = pytest.mark.skipif(not shutil.which("g++"), reason="there is no C++ compiler")


@pytest.fixture
def _uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the compiler."""
    monkeypatch.setattr(compiled, "_compile", functools.partial)


@pytest.mark.usefixtures("_uncompiled")
@pytest.mark.parametrize(
    ("spec", "options"),
    [(BOX, {}), (BUTTONS, {}), (BOX, {"agent": "planet"})],
    ids=["box", "buttons", "planet"],
)
def test_it_is_the_update_with_other_functions(spec: EnvSpec, options: dict[str, Any]) -> None:
    plain, other = agent_of(spec, **options), agent_of(spec, **options)
    update, batch = make_update(other, "compiled"), random_batch(spec)
    metrics, again = plain.update(batch), update(batch, "all")
    assert all(torch.equal(again[name], value) for name, value in metrics.items())
    for name, parameter in plain.world_model.named_parameters():
        assert torch.equal(parameter, other.world_model.get_parameter(name))


@pytest.mark.usefixtures("_uncompiled")
def test_they_are_in_place_for_an_update_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    agent, seen = agent_of(BOX), []
    assert isinstance(agent, Dreamer)
    rssm, actor = agent.world_model.rssm, agent.behavior.actor

    def fail(*_: Any) -> None:
        seen.append((rssm.elementwise, actor.squashed))
        raise ValueError("in the update")

    monkeypatch.setattr(agent, "update", fail)
    learner = Compiled(agent)
    with pytest.raises(ValueError, match="in the update"):
        learner.update({})
    assert seen == [(learner._elementwise, learner._squashed)]
    assert [each.func for each in learner._elementwise] == [*FORMULAS]
    assert learner._squashed is not sample_tanh_normal
    assert (rssm.elementwise, actor.squashed) == (PLAIN, sample_tanh_normal)
    assert learner.generator is agent.generator
    with pytest.raises(AttributeError):
        _ = learner._nothing


def test_an_agent_that_learns_nothing_is_left_alone() -> None:
    agent = make_agent(BOX, config(agent="random"))
    assert compiled.compiled(agent) is agent


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("No working C++ compiler found\nand more")

    monkeypatch.setattr(compiled, "_compile", lambda function: fail)
    with pytest.raises(
        UserError, match=r"needs a C\+\+ compiler.*leave it out \(No working C\+\+ compiler found\)"
    ):
        make_update(agent_of(BOX), "compiled")


@compiles
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_it_agrees_with_the_eager_update() -> None:
    spec = EnvSpec({"image": (32, 32, 3)}, {}, ActionSpec(2))
    found = {each.precision: each for each in compare_paths(spec, config(update="compiled"))}
    assert {each.path for each in found.values()} == {"compiled"}
    assert 0 < found["float32"].worst < 1e-5
    assert found["bfloat16"].good
