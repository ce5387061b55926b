"""Whole algorithms, plain and accelerated: the same names, the same weights, the same updates."""

import copy
from collections.abc import Iterator

import pytest
import torch

from dreamer.fast import accelerate
from dreamer.fast.decoder import FastImageDecoder
from dreamer.fast.optimizers import FastAdam, FastOptimizers
from dreamer.fast.rssm_loops import FastRSSM
from dreamer.types import Phase
from fast.exact import EPS, distance
from helpers import KINDS, learner, random_batch, random_noise, small_agent, small_dreamer, trial_update

PHASES: list[Phase] = ["model", "model and value", "all"]


@pytest.fixture(autouse=True)
def _same_threads_afterward() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_weights_stay_as_they_are(kind: str) -> None:
    spec, options = KINDS[kind]
    plain, fast = (small_agent(spec, fast=fast, **options).algorithm.state_dict() for fast in (False, True))
    assert list(plain) == list(fast)
    assert all(torch.equal(plain[name], fast[name]) for name in plain)


def test_every_trick_is_in_place() -> None:
    dreamer = small_dreamer()
    accelerate(dreamer)
    assert type(dreamer.world_model.rssm) is FastRSSM
    assert type(dreamer.world_model.decoder.networks[0]) is FastImageDecoder
    assert type(dreamer.optimizers) is FastOptimizers
    assert {type(adam) for adam in dreamer.optimizers.optimizers.values()} == {FastAdam}


def test_random_agent_is_left_as_it_is() -> None:
    assert not small_agent(agent="random", fast=True).trainable


@pytest.mark.parametrize("kind", KINDS)
def test_update_equals_plain_one_in_float32(kind: str) -> None:
    """Metrics and gradients are off by a few roundings of what they are sums of.

    The worst is the last bias of a decoder: it sums 20,000 errors of pixels, of either sign, to a hundredth
    of their absolute values. A few roundings in succession of each are then some hundred of the sum.
    """
    spec, options = KINDS[kind]
    algorithms = [learner(small_agent(spec, fast=fast, **options)) for fast in (False, True)]
    batch = random_batch(spec)
    batch["is_first"][1, 4] = True
    noise = random_noise(algorithms[0], batch)
    for phase in PHASES:
        (expected, their_gradients), (ours, gradients) = (
            trial_update(algorithm, batch, noise, phase) for algorithm in algorithms
        )
        assert ours.keys() == expected.keys()
        for name, value in expected.items():
            torch.testing.assert_close(ours[name], value, rtol=800 * EPS, atol=1e-6, msg=f"{name} {phase}")
        assert gradients.keys() == their_gradients.keys()
        for name, gradient in their_gradients.items():
            assert distance(gradients[name], gradient) < 800 * EPS, (name, phase)


@pytest.mark.parametrize("kind", KINDS)
def test_update_in_bfloat16_is_as_exact_as_plain_one(kind: str) -> None:
    """Compared with float32: both round as often, so neither is more than twice as far off."""
    spec, options = KINDS[kind]
    agents = [small_agent(spec, fast=fast, **options) for fast in (False, True)]
    batch = random_batch(spec)
    noise = random_noise(learner(agents[0]), batch)
    _, exact = trial_update(learner(agents[0]), batch, noise)
    found = []
    for agent in agents:
        with torch.autocast("cpu", torch.bfloat16):
            found.append(trial_update(learner(agent), batch, noise)[1])
    plain, fast = found
    for name, gradient in exact.items():
        assert distance(fast[name], gradient) < 2 * distance(plain[name], gradient) + 1e-6, name


@pytest.mark.parametrize("kind", ["dreamer", "no value", "reward only"])
def test_update_on_two_cores_equals_that_on_one(kind: str) -> None:
    """Bit for bit: each half is computed on one core, and no forward pass splits a sum between cores."""
    spec, options = KINDS[kind]
    algorithm = learner(small_agent(spec, fast=True, **options))
    taken = []
    for cores in (1, 2):
        torch.set_num_threads(cores)
        trial = copy.deepcopy(algorithm)
        batch = random_batch(spec)
        with torch.autocast("cpu", torch.bfloat16):  # only then are gradients taken side by side
            metrics = [trial.update(batch, random_noise(trial, batch, seed)) for seed in range(3)]
        taken.append((metrics, list(trial.parameters())))
        assert torch.get_num_threads() == cores
    (expected, weights), (ours, our_weights) = taken
    assert all(torch.equal(x[key], y[key]) for x, y in zip(ours, expected, strict=True) for key in y)
    assert all(torch.equal(x, y) for x, y in zip(our_weights, weights, strict=True))
