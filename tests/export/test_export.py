"""Exported policies act exactly as the trainer's agent, without simulators."""

import io
import lzma
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dreamer import cli
from dreamer.agents.agent import Agent
from dreamer.config import with_options
from dreamer.errors import UserError
from dreamer.export.export import export_run
from dreamer.export.policy import Policy, load_policy, pack
from dreamer.export.policy_file import write_policy_file
from dreamer.machine import peak_memory, reset_peak_memory
from dreamer.presets import debug
from dreamer.training.trainer import Trainer
from dreamer.types import ActionSpec, EnvSpec
from helpers import BUTTONS, IMAGE, SIZES, learner, random_batch, random_observation, small_agent

MIXED = EnvSpec({"left": (32, 32, 3), "right": (32, 32, 1)}, {"state": 4}, ActionSpec(2))
QUICKLY = {"free_nats": 0.0, "model_lr": 0.02, "actor_lr": 0.2, "value_lr": 0.02}


def trained(spec: EnvSpec, **options: Any) -> Agent:
    """An agent after three updates, each of which changes all of its networks a good deal."""
    agent = small_agent(spec, **QUICKLY, **options)
    parameters = [p for p in learner(agent).parameters() if p.requires_grad]
    before = [parameter.clone() for parameter in parameters]
    for seed in range(3):
        agent.update(random_batch(spec, seed=seed))
    assert all((a - b).abs().max() > 1e-3 for a, b in zip(parameters, before, strict=True))
    return agent


def saved(agent: Agent, path: Path) -> Path:
    torch.save(pack(agent), path)
    return path


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    """An untrained policy that sees two images and a vector."""
    return load_policy(saved(small_agent(MIXED), tmp_path / "policy.pt"))


@pytest.mark.parametrize(
    ("name", "spec", "options"),
    [
        ("dreamer", MIXED, {}),
        ("dreamer", MIXED, {"objective": "contrastive"}),
        ("no-value", BUTTONS, {"pcont": True}),
        ("planet", MIXED, {}),
        ("planet", MIXED, {"pcont": True}),
    ],
)
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("fast", [False, True])
def test_a_policy_acts_exactly_as_the_agent_that_has_learned(
    name: str, spec: EnvSpec, options: dict[str, Any], n: int, fast: bool, tmp_path: Path
) -> None:
    agent = trained(spec, agent=name, fast=fast, **options)
    policy = load_policy(saved(agent, tmp_path / "policy.pt"), seed=5)
    state, generator = agent.initial_state(n), torch.Generator().manual_seed(5)
    for step in range(6):
        obs = random_observation(spec, n, seed=step)
        if step == 4:
            state = state.reset(n - 1)
            policy.reset(n - 1)
        expected, state = agent.policy(obs, state, False, generator)
        assert np.array_equal(policy.act(obs), expected)


def test_a_policy_file_holds_no_decoder(tmp_path: Path) -> None:
    names = torch.load(saved(small_agent(MIXED), tmp_path / "policy.pt"), weights_only=True)["weights"]
    assert any(name.startswith("world_model.encoder.") for name in names)
    assert not any("decoder" in name for name in names)


def test_single_observation_gives_a_single_action(tmp_path: Path) -> None:
    file = saved(small_agent(BUTTONS), tmp_path / "policy.pt")
    one, batch, bare = (load_policy(file) for _ in range(3))
    for seed in range(3):
        obs = random_observation(BUTTONS, 1, seed)
        expected = batch.act(obs)[0]
        assert np.array_equal(one.act({"state": obs["state"][0]}), expected)
        assert np.array_equal(bare.act(obs["state"][0]), expected)


def test_views_of_images_are_taken_as_they_are(tmp_path: Path) -> None:
    file = saved(small_agent(IMAGE), tmp_path / "policy.pt")
    turned, plain = (load_policy(file) for _ in range(2))
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    image.flags.writeable = False
    assert np.array_equal(turned.act(image[::-1]), plain.act(image[::-1].copy()))
    assert np.array_equal(turned.act(image[:, ::-1]), plain.act(image[:, ::-1].copy()))
    assert np.array_equal(turned.act(image), plain.act(image.copy()))


def test_reset_forgets_everything(policy: Policy) -> None:
    first, second = (random_observation(MIXED, 2, seed) for seed in range(2))
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
        ({"state": np.zeros((2, 5), np.float32)}, r"'state' (is of|has) shape \((2, )?5,?\).*\(4,\)"),
        ({"left": np.full((2, 32, 32, 3), 2, np.float32)}, r"must be uint8|return uint8"),
        ({"state": np.zeros((3, 4), np.float32)}, "not equally many"),
    ],
)
@pytest.mark.parametrize("raw", [False, True])
def test_observations_that_do_not_fit_are_refused(
    change: dict[str, Any], message: str, raw: bool, policy: Policy
) -> None:
    obs = random_observation(MIXED, 2)
    wrong = {key: value for key, value in {**obs, **change}.items() if value is not None}
    with pytest.raises(UserError, match=message):
        policy.act(wrong, raw)


def test_policy_for_another_number_of_environments_needs_a_reset(policy: Policy) -> None:
    policy.act(random_observation(MIXED, 2))
    with pytest.raises(UserError, match=r"3 observations after 2: call reset"):
        policy.act(random_observation(MIXED, 3))


def test_policy_file_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save({"weights": 1}, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("no policy")
    for name in ("other.pt", "text.pt", "missing.pt"):
        with pytest.raises(UserError, match="dreamer export"):
            load_policy(tmp_path / name)


@pytest.mark.parametrize("change", [{"format": "dreamer-policy-1"}, {"sizes": {}, "options": None}])
def test_policies_of_another_version_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    content = {**pack(small_agent(BUTTONS)), **change}
    torch.save({key: x for key, x in content.items() if x is not None}, tmp_path / "policy.pt")
    with pytest.raises(
        UserError, match=r"policy.pt was written by another version of this program: use that"
    ):
        load_policy(tmp_path / "policy.pt")


def _bomb(file: Path, content: bytes) -> None:
    """A file of a few KiB that says it is far more."""
    file.write_bytes(lzma.compress(content) if file.suffix == ".xz" else content)


def _deflated() -> bytes:
    """A file of `torch.save`, compressed, in which one tensor is as large as a hundred such files."""
    plain, packed = io.BytesIO(), io.BytesIO()
    torch.save({"weights": torch.zeros(2**20)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target:
        for info in source.infolist():
            target.writestr(info.filename, source.read(info))
    return packed.getvalue()


def _expanded() -> bytes:
    """A policy whose weights repeat a single number, as far as a tensor can reach."""
    content, buffer = pack(small_agent(IMAGE)), io.BytesIO()
    content["weights"] = {name: torch.zeros(1).expand(2**50) for name in content["weights"]}
    torch.save(content, buffer)
    return buffer.getvalue()


BOMBS: dict[str, tuple[str, Callable[[], bytes]]] = {
    "zeros": ("a.pt.xz", lambda: bytes(2**28)),
    "a compressed archive": ("a.pt", _deflated),
    "repeated numbers": ("a.pt", _expanded),
}


@pytest.mark.parametrize(("name", "content"), BOMBS.values(), ids=BOMBS.keys())
def test_file_that_would_fill_the_memory_is_refused(
    name: str, content: Callable[[], bytes], tmp_path: Path
) -> None:
    _bomb(tmp_path / name, content())
    reset_peak_memory(torch.device("cpu"))
    before = peak_memory(torch.device("cpu"))["process memory"]
    with pytest.raises(UserError, match=name):
        load_policy(tmp_path / name)
    assert peak_memory(torch.device("cpu"))["process memory"] < before + 2**27


STRANGE: dict[str, Callable[[dict[str, Any]], Any]] = {
    "an image of 10^18 pixels": lambda spec: spec["images"].update(image=(10**9, 10**9, 3)),
    "a negative action": lambda spec: spec["action"].update(size=-3),
    "an image without channels": lambda spec: spec["images"].update(image=(64, 64)),
    "a space of 10^15 numbers": lambda spec: spec["spaces"].update(
        action={"kind": "Box", "low": -1, "high": 1, "shape": [10**15], "dtype": "float32"}
    ),
    "a space of no kind": lambda spec: spec["spaces"].update(action={"kind": "Nothing"}),
}


@pytest.mark.parametrize("change", STRANGE.values(), ids=STRANGE.keys())
def test_environment_that_cannot_be_is_refused(
    change: Callable[[dict[str, Any]], Any], tmp_path: Path
) -> None:
    content = pack(small_agent(IMAGE))
    change(content["spec"])
    write_policy_file(tmp_path / "a.pt", {k: x for k, x in content.items() if k != "checksum"})
    with pytest.raises(UserError, match=r"a\.pt is damaged"):
        load_policy(tmp_path / "a.pt")


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    content = pack(small_agent(IMAGE))
    next(iter(content["weights"].values())).fill_(float("nan"))
    write_policy_file(tmp_path / "a.pt", {k: x for k, x in content.items() if k != "checksum"})
    with pytest.raises(UserError, match="are not finite"):
        load_policy(tmp_path / "a.pt")


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_what_is_no_file_is_refused(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(tmp_path / "policy.pt")
    with pytest.raises(UserError, match=r"policy.pt cannot be read as a policy"):
        load_policy(tmp_path / "policy.pt")


def test_random_agent_has_nothing_to_export() -> None:
    with pytest.raises(UserError, match="no policy to export"):
        pack(small_agent(BUTTONS, agent="random"))


def acts_as(agent: Agent, policy: Policy) -> bool:
    """Whether the policy, of seed 0, takes the actions of the agent, for a few images."""
    state, generator = agent.initial_state(1), torch.Generator().manual_seed(0)
    for seed in range(4):
        obs = random_observation(agent.spec, 1, seed)
        expected, state = agent.policy(obs, state, False, generator)
        if not np.array_equal(policy.act(obs), expected):
            return False
    return True


def test_a_run_is_exported_and_loads_without_simulators(tmp_path: Path, monkeypatch) -> None:
    run, out = tmp_path / "run", tmp_path / "policy.pt"
    options = {"steps": 250, "eval_every": 0, "video_every": 0, "time_limit": 100, "device": "cpu"}
    trainer = Trainer(with_options(debug(), {**SIZES, **options, "train_steps": 1}), run)
    assert trainer.run()
    trainer.close()
    monkeypatch.setattr(sys, "argv", ["dreamer", "export", str(run), "--out", str(out)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 0
    assert out.stat().st_size < 2**20
    assert acts_as(trainer.agent, load_policy(out))
    program = f"""
import sys, numpy, dreamer
policy = dreamer.load_policy({str(out)!r})
print(policy.act(numpy.zeros((64, 64, 3), numpy.uint8)).shape)
loaded = {{"mujoco", "dm_control", "matplotlib", "imageio", "ale_py"}} & set(sys.modules)
assert not loaded, loaded
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout == "(2,)\n"


def test_export_of_no_run_writes_nothing(tmp_path: Path) -> None:
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
    exec(program.replace('preset="debug"', 'preset="debug", steps=300, time_limit=50'), names)
    assert names["env"].action_space.contains(names["action"])
