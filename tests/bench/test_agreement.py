import pytest
import torch

from bench.small import config
from dreamer.bench import paths
from dreamer.bench.agreement import Agreement, compare_paths
from dreamer.bench.paths import UpdatePath, path_named, paths_for
from dreamer.config import with_options
from dreamer.errors import UserError
from dreamer.presets import paper
from dreamer.spec import ActionSpec, EnvSpec

SPEC = EnvSpec({"image": (32, 32, 3)}, {}, ActionSpec(2))


def add_path(monkeypatch, make, **settings):
    monkeypatch.setattr("dreamer.bench.paths.PATHS", [*paths.PATHS, UpdatePath("other", make, **settings)])


def by_variant(found):
    return {(agreement.path, agreement.precision): agreement for agreement in found}


def test_bfloat16_is_near_float32_and_not_the_same():
    (agreement,) = compare_paths(SPEC, config())
    assert (agreement.path, agreement.precision) == ("eager", "bfloat16")
    assert agreement.good
    assert 0 < agreement.worst < 0.05
    assert {"model/loss", "actor/gradient", "value/loss", "model/gradient"} <= agreement.errors.keys()


def test_the_same_computation_agrees_to_the_last_bit(monkeypatch):
    add_path(monkeypatch, lambda agent: agent.update)
    other = by_variant(compare_paths(SPEC, config()))["other", "float32"]
    assert other.worst == 0
    assert other.weights == 0


def test_another_noise_does_not_agree(monkeypatch):
    def make(agent):
        def update(batch):
            torch.randn(1, generator=agent.generator)
            return agent.update(batch)

        return update

    add_path(monkeypatch, make)
    assert not by_variant(compare_paths(SPEC, config()))["other", "float32"].good


def test_an_update_left_out_shows_in_the_weights(monkeypatch):
    def make(agent):
        taken = []

        def update(batch):
            taken.append(batch)
            return agent.update(batch) if len(taken) < 3 else {}

        return update

    add_path(monkeypatch, make)
    assert by_variant(compare_paths(SPEC, config()))["other", "float32"].weights > 0.1


def test_what_is_not_finite_is_not_good():
    assert not Agreement("eager", "bfloat16", {"a": 0.0, "b": float("nan"), "c": 0.1}, 0.0).good


def test_paths_by_device(monkeypatch):
    add_path(monkeypatch, lambda agent: agent.update, devices=("cuda",))
    assert [path.name for path in paths_for(torch.device("cpu"))] == ["eager"]
    assert [path.name for path in paths_for(torch.device("cuda"))] == ["captured", "eager", "other"]
    assert path_named("other", torch.device("cuda")).name == "other"
    assert [path.name for path in paths_for(torch.device("cuda"), fast=False)] == ["eager"]
    with pytest.raises(UserError, match="choose from eager"):
        path_named("other", torch.device("cpu"))


@pytest.mark.gpu
def test_every_path_agrees_at_the_papers_sizes():
    settings = with_options(paper(), {"device": "cuda", "batch_size": 10})
    spec = EnvSpec({"image": (64, 64, 3)}, {}, ActionSpec(6))
    found = compare_paths(spec, settings)
    assert [agreement for agreement in found if not agreement.good] == []
