"""ONNX policies act as the trainer's agent does."""

import functools
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dreamer.agents.agent import Agent
from dreamer.agents.dreamer import Dreamer
from dreamer.agents.no_value import NoValue
from dreamer.behavior.actor import MODE_SAMPLES, Actor
from dreamer.envs.vector import VectorEnv
from dreamer.errors import UserError
from dreamer.export.onnx import OPSET, policy_onnx
from dreamer.types import ActionSpec, EnvSpec, Observation
from helpers import (
    BUTTONS,
    IMAGE,
    STATE,
    learner,
    random_batch,
    random_observation,
    small_agent,
    small_config,
)

onnx = pytest.importorskip("onnx", reason="the packages for ONNX are not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="the packages for ONNX are not installed")

MIXED = EnvSpec({"left": (32, 32, 3), "right": (32, 32, 1)}, {"state": 4}, ActionSpec(2))
QUICKLY = {"free_nats": 0.0, "model_lr": 0.02, "actor_lr": 1e-3, "value_lr": 0.02}
TOLERANCE = 1e-4
"""Of an action in [-1, 1]: ten layers, whose sums of at most 1,000 terms round by 2^-24 of their absolute values."""


def trained(spec: EnvSpec, **options: Any) -> Agent:
    """An agent after three updates, whose continuous actions have a standard deviation of 0.3.

    Near -1 and 1, where those of a new actor are, float32 cannot tell which of two samples is the more likely, and
    the actor's mode is either.
    """
    agent = small_agent(spec, **QUICKLY, **options)
    for seed in range(3):
        agent.update(random_batch(spec, seed=seed))
    actor = learner(agent).actor
    assert isinstance(actor, Actor)
    if not spec.action.discrete:
        actor.mlp.out.bias.data[spec.action.size :] = -6.0
    return agent


KINDS: dict[str, tuple[EnvSpec, dict[str, Any]]] = {
    "images": (IMAGE, {}),
    "states": (STATE, {}),
    "dictionary": (MIXED, {"objective": "contrastive", "fast": True}),
    "discrete": (BUTTONS, {"agent": "no-value", "pcont": True}),
}


@functools.cache
def exported(kind: str) -> tuple[Agent, bytes]:
    """An agent and its ONNX policy; tracing takes seconds."""
    spec, options = KINDS[kind]
    agent = trained(spec, **options)
    return agent, policy_onnx(agent)


class OnnxPolicy:
    """An ONNX policy that takes its noise from a generator in the order in which the agent takes its own."""

    def __init__(self, agent: Agent, content: bytes, n: int):
        algorithm = learner(agent)
        assert isinstance(algorithm, Dreamer | NoValue)
        self.actor, self.stoch = algorithm.actor, algorithm.world_model.rssm.stoch
        self.session = onnxruntime.InferenceSession(content)
        shapes = {one.name: one.shape for one in self.session.get_inputs()}
        self.memory = np.zeros((n, shapes["memory"][1]), np.float32)
        self.generator = torch.Generator().manual_seed(5)

    def act(self, obs: Observation) -> np.ndarray:
        n = len(self.memory)
        noise = torch.randn((n, self.stoch), generator=self.generator)
        samples = self.actor.draw_noise(MODE_SAMPLES, n, generator=self.generator)
        if not self.actor.action.discrete:
            noise = torch.cat([noise, samples.transpose(0, 1).flatten(1)], 1)
        action, self.memory = self.session.run(None, obs | {"memory": self.memory, "noise": noise.numpy()})
        return action


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [1, 3])
def test_onnx_policy_acts_as_the_agent(kind: str, n: int) -> None:
    agent, content = exported(kind)
    policy, state = OnnxPolicy(agent, content, n), agent.initial_state(n)
    generator = torch.Generator().manual_seed(5)
    for step in range(10):
        obs = random_observation(agent.spec, n, seed=step)
        expected, state = agent.policy(obs, state, False, generator)
        np.testing.assert_allclose(policy.act(obs), expected, rtol=0, atol=TOLERANCE)


@pytest.mark.render
def test_onnx_policy_acts_as_the_agent_over_a_whole_episode_of_the_control_suite() -> None:
    config = small_config(env="dmc:cartpole_balance", render="fast", image_size=32, action_repeat=4)
    with closing(VectorEnv(config.environment)) as envs:
        agent = trained(envs.spec)
        policy, state = OnnxPolicy(agent, policy_onnx(agent), 1), agent.initial_state(1)
        generator = torch.Generator().manual_seed(5)
        obs, done, steps = envs.reset(0, seed=0), False, 0
        while not done:
            batch = {key: array[None] for key, array in obs.items()}
            expected, state = agent.policy(batch, state, False, generator)
            np.testing.assert_allclose(policy.act(batch), expected, rtol=0, atol=TOLERANCE)
            result = envs.step_one(0, expected[0])
            obs, done, steps = result.observation, result.terminated or result.truncated, steps + 1
    assert steps == 250


def test_model_is_plain_onnx() -> None:
    model = onnx.load_from_string(exported("dictionary")[1])
    assert [(one.domain, one.version) for one in model.opset_import] == [("", OPSET)]
    assert [one.name for one in model.graph.input] == ["left", "right", "state", "memory", "noise"]
    assert [one.name for one in model.graph.output] == ["action", "next_memory"]
    assert not any(node.domain for node in model.graph.node)
    assert Counter(node.op_type for node in model.graph.node)["If"] == 0


def test_file_names_no_path_of_this_machine() -> None:
    _, content = exported("images")
    assert str(Path.cwd()).encode() not in content
    assert sys.prefix.encode() not in content


def test_observation_with_the_name_of_another_input_is_refused() -> None:
    with pytest.raises(UserError, match="'noise': rename"):
        policy_onnx(small_agent(EnvSpec({}, {"noise": 3}, ActionSpec(2))))


@pytest.mark.parametrize("name", ["planet", "random"])
def test_agents_without_an_actor_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"end in \.pt"):
        policy_onnx(small_agent(IMAGE, agent=name))


def test_the_example_of_the_readme_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (program,) = (
        block.split("```")[0] for block in readme.split("```python\n")[1:] if "onnxruntime" in block
    )
    agent = small_agent(EnvSpec({"image": (64, 64, 3)}, {}, ActionSpec(2)))
    (tmp_path / "swingup.onnx").write_bytes(policy_onnx(agent))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(program, names)
    assert names["action"].shape == (1, 2)
