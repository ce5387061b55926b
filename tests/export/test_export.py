"""Exported policies act exactly as the trainer's agent, with torch and numpy alone."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dreamer.agents.model_based import ModelBasedAgent
from dreamer.agents.policy import Policy, pack
from dreamer.training.export import export_run, policy_of
from world_model.small import batch

import dreamer
from dreamer import cli
from dreamer.agents.agent import Agent
from dreamer.agents.make import make_agent
from dreamer.config import Config, with_options
from dreamer.errors import UserError
from dreamer.presets import debug
from dreamer.training.trainer import Trainer
from dreamer.types import ActionSpec, EnvSpec

MIXED = EnvSpec({"left": (32, 32, 3), "right": (32, 32, 1)}, {"state": 4}, ActionSpec(2))
BUTTONS = EnvSpec({}, {"state": 4}, ActionSpec(5, (3, 2)))
TINY = {
    "stoch": 4,
    "deter": 8,
    "hidden": 8,
    "units": 8,
    "cnn_depth": 2,
    "plan_iterations": 2,
    "plan_candidates": 20,
    "plan_elites": 4,
    "device": "cpu",
}
QUICKLY = {"free_nats": 0.0, "model_lr": 0.02, "actor_lr": 0.2, "value_lr": 0.02}


def agent_of(spec: EnvSpec, **options: Any) -> ModelBasedAgent:
    agent = make_agent(spec, with_options(Config(), {**TINY, **options}))
    assert isinstance(agent, ModelBasedAgent)
    return agent


def trained(agent: ModelBasedAgent) -> ModelBasedAgent:
    """The same agent after three updates, each of which changes all of it a good deal."""
    parameters = [*agent.world_model.parameters(), *agent.behavior.parameters()]
    before = [parameter.clone() for parameter in parameters]
    for seed in range(3):
        agent.update(batch(agent.spec, seed=seed))
    assert all((a - b).abs().max() > 1e-3 for a, b in zip(parameters, before, strict=True))
    return agent


def observations(spec: EnvSpec, n: int, steps: int) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(0)
    return [
        {key: random.integers(0, 256, (n, *shape), dtype=np.uint8) for key, shape in spec.images.items()}
        | {key: random.normal(size=(n, size)).astype(np.float32) for key, size in spec.vectors.items()}
        for _ in range(steps)
    ]


def saved(agent: ModelBasedAgent, path: Path) -> Path:
    torch.save(pack(policy_of(agent)), path)
    return path


@pytest.mark.parametrize(
    ("name", "spec", "pcont"),
    [
        ("dreamer", MIXED, False),
        ("no-value", BUTTONS, True),
        ("planet", MIXED, False),
        ("planet", MIXED, True),
    ],
)
@pytest.mark.parametrize("n", [1, 3])
def test_acts_exactly_as_the_agent_that_has_learned(name, spec, pcont, n, tmp_path: Path) -> None:
    agent = trained(agent_of(spec, agent=name, pcont=pcont, **QUICKLY))
    policy = dreamer.load_policy(saved(agent, tmp_path / "policy.pt"), seed=5)
    state, generator = agent.initial_state(n), torch.Generator().manual_seed(5)
    for step, obs in enumerate(observations(spec, n, 6)):
        if step == 4:
            state = state.reset(n - 1)
            policy.reset(n - 1)
        expected, state = agent.policy(obs, state, False, generator)
        assert np.array_equal(policy.act(obs), expected)


def test_a_single_observation_has_a_single_action(tmp_path: Path) -> None:
    file = saved(agent_of(BUTTONS), tmp_path / "policy.pt")
    one, batch, bare = (dreamer.load_policy(file) for _ in range(3))
    for obs in observations(BUTTONS, 1, 3):
        expected = batch.act(obs)[0]
        assert np.array_equal(one.act({"state": obs["state"][0]}), expected)
        assert np.array_equal(bare.act(obs["state"][0]), expected)


def test_views_of_images_are_taken_as_they_are(tmp_path: Path) -> None:
    file = saved(agent_of(EnvSpec({"image": (32, 32, 3)}, {}, ActionSpec(2))), tmp_path / "policy.pt")
    turned, plain = (dreamer.load_policy(file) for _ in range(2))
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    image.flags.writeable = False
    assert np.array_equal(turned.act(image[::-1]), plain.act(image[::-1].copy()))
    assert np.array_equal(turned.act(image[:, ::-1]), plain.act(image[:, ::-1].copy()))
    assert np.array_equal(turned.act(image), plain.act(image.copy()))


def test_reset_forgets_everything(tmp_path: Path) -> None:
    policy = dreamer.load_policy(saved(agent_of(MIXED), tmp_path / "policy.pt"))
    first, second = observations(MIXED, 2, 2)
    before = policy._generator.get_state()
    fresh = policy.act(first)
    policy.act(second)
    policy.reset()
    policy._generator.set_state(before)
    assert np.array_equal(policy.act(first), fresh)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state": None}, "'state' is missing"),
        ({"state": np.zeros((2, 5), np.float32)}, r"'state' is of shape \(2, 5\).*\(4,\)"),
        ({"left": np.zeros((2, 32, 32, 3), np.float32)}, "must be uint8"),
        ({"state": np.zeros((3, 4), np.float32)}, "not equally many"),
    ],
)
def test_observations_that_do_not_fit_are_refused(change, message, tmp_path: Path) -> None:
    policy = policy_of(agent_of(MIXED))
    (obs,) = observations(MIXED, 2, 1)
    wrong = {key: value for key, value in {**obs, **change}.items() if value is not None}
    with pytest.raises(UserError, match=message):
        policy.act(wrong)


def test_another_number_of_environments_needs_a_reset() -> None:
    policy = policy_of(agent_of(BUTTONS))
    policy.act(observations(BUTTONS, 2, 1)[0])
    with pytest.raises(UserError, match=r"3 observations after 2: call reset"):
        policy.act(observations(BUTTONS, 3, 1)[0])


def test_other_files_are_refused(tmp_path: Path) -> None:
    torch.save({"weights": 1}, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("no policy")
    for name in ("other.pt", "text.pt", "missing.pt"):
        with pytest.raises(UserError, match="dreamer export"):
            dreamer.load_policy(tmp_path / name)


def test_random_agent_has_nothing_to_export() -> None:
    with pytest.raises(UserError, match="no policy to export"):
        policy_of(make_agent(BUTTONS, with_options(Config(), {"agent": "random"})))


def acts_as(agent: Agent, policy: Policy) -> bool:
    """Whether the policy, of seed 0, takes the actions of the agent, for a few pictures."""
    state, generator = agent.initial_state(1), torch.Generator().manual_seed(0)
    for obs in observations(agent.spec, 1, 4):
        expected, state = agent.policy(obs, state, False, generator)
        if not np.array_equal(policy.act(obs), expected):
            return False
    return True


def test_a_run_is_exported_and_loads_without_simulators(tmp_path: Path, monkeypatch) -> None:
    run, out = tmp_path / "run", tmp_path / "policy.pt"
    options = {"steps": 250, "eval_every": 0, "video_every": 0, "time_limit": 100}
    trainer = Trainer(with_options(debug(), {**TINY, **options, "train_steps": 1}), run)
    assert trainer.run()
    trainer.close()
    monkeypatch.setattr(sys, "argv", ["dreamer", "export", str(run), "--out", str(out)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    assert out.stat().st_size < 2**20
    assert acts_as(trainer.agent, dreamer.load_policy(out))
    program = f"""
import sys, numpy, dreamer
policy = dreamer.load_policy({str(out)!r})
print(policy.act(numpy.zeros((64, 64, 3), numpy.uint8)).shape)
loaded = {{"mujoco", "dm_control", "gymnasium", "tyro", "rich", "matplotlib", "ale_py"}} & set(sys.modules)
assert not loaded, loaded
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "(2,)\n"


def test_nothing_is_written_where_there_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run directory"):
        export_run(tmp_path / "nothing", tmp_path / "policy.pt")
    assert not list(tmp_path.iterdir())


def test_the_example_of_the_readme_runs(tmp_path: Path, monkeypatch) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    (program,) = (
        block.split("```")[0] for block in readme.split("```python\n")[1:] if "load_policy" in block
    )
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(program, names)
    assert names["action"].shape == (2,)
