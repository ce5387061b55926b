"""Policies that come with the package, and the compact files that they are."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dreamer
from dreamer.config import evaluated
from dreamer.envs.vector import VectorEnv
from dreamer.errors import UserError
from dreamer.export.policy import kept, load_policy, pack
from dreamer.export.policy_file import write_policy_file
from dreamer.training.evaluate import evaluate
from helpers import IMAGE, small_agent

DOCUMENT = (Path(__file__).parents[2] / "docs" / "policies.md").read_text()
SCORES = {name: float(score) for name, score in re.findall(r"^\| `(\w+)` \|.*\| (\d+) \|$", DOCUMENT, re.M)}
"""The score of each policy as its file is read back, as documented."""


def test_document_lists_every_kept_policy() -> None:
    assert SCORES.keys() == kept().keys()
    assert {"walker_stand", "cartpole_balance"} <= kept().keys()


@pytest.mark.render
def test_program_of_the_document_runs() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.S)
    names: dict[str, Any] = {}
    exec(program.replace("while not done:", "for _ in range(2):"), names)
    names["env"].close()
    assert 0 < names["total"] < 4


def test_kept_policies_are_small() -> None:
    assert sum(file.stat().st_size for file in kept().values()) < 40e6


@pytest.mark.parametrize("name", kept())
def test_kept_policy_acts_in_its_environment(name: str) -> None:
    policy = dreamer.load_policy(name)
    low, high = (np.array(policy.spec.spaces["action"][side]) for side in ("low", "high"))
    actions = np.stack([policy.act(np.full((100, 120, 3), shade, np.uint8)) for shade in (0, 90, 255)])
    assert ((low <= actions) & (actions <= high)).all()
    assert policy.action_repeat > 1


@pytest.mark.slow
@pytest.mark.render
@pytest.mark.parametrize("name", kept())
def test_kept_policy_gets_its_score(name: str) -> None:
    """Three episodes; one alone lies within 120 of the mean in the documented evaluations."""
    policy = dreamer.load_policy(name)
    envs = VectorEnv(evaluated(policy.config.environment), 1, 0)
    assert evaluate(policy.agent, envs, 3, seed=1).mean > SCORES[name] - 120
    envs.close()


def test_compact_file_has_the_weights_in_half_precision(tmp_path: Path) -> None:
    content = pack(small_agent(IMAGE))
    for name in ("policy.pt", "policy.pt.xz"):
        write_policy_file(tmp_path / name, content)
    assert (tmp_path / "policy.pt.xz").stat().st_size < 0.6 * (tmp_path / "policy.pt").stat().st_size
    full, small = (load_policy(tmp_path / name) for name in ("policy.pt", "policy.pt.xz"))
    weights = small.agent.algorithm.state_dict()
    for name, weight in full.agent.algorithm.state_dict().items():
        # Half of the last of 11 bits; below 2^-14 the numbers are 2^-24 apart.
        torch.testing.assert_close(weights[name], weight, rtol=2**-11, atol=2**-25)
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    apart = [np.abs(full.act(image) - small.act(image)).max() for image in images]
    assert max(apart) < 0.01


def test_damaged_and_unknown_files_are_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "policy.pt.xz"
    write_policy_file(file, pack(small_agent(IMAGE)))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(UserError, match="cannot be read as a policy"):
        load_policy(file)
    for name in (tmp_path / "walker_stand", "walker_run"):
        with pytest.raises(UserError, match=f"There is no {name}: .*, walker_stand"):
            load_policy(name)


def test_file_of_a_kept_name_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_policy_file(Path("walker_stand"), pack(small_agent(IMAGE)))
    assert load_policy("walker_stand").spec == IMAGE
