"""Specs, batches and algorithms that are small enough to look at, for all tests."""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dreamer.agents.agent import Agent
from dreamer.agents.dreamer import Dreamer
from dreamer.agents.make import make_agent
from dreamer.agents.no_value import NoValue
from dreamer.agents.planet import PlaNet
from dreamer.baselines.d4pg import D4PG
from dreamer.bench import random_data
from dreamer.config import Config, with_options
from dreamer.types import ActionSpec, Batch, EnvSpec, Metrics, Noise, Observation, Phase

Learner = Dreamer | NoValue | PlaNet | D4PG

IMAGE = EnvSpec({"image": (32, 32, 3)}, {}, ActionSpec(2))
STATE = EnvSpec({}, {"state": 4}, ActionSpec(2))
BUTTONS = EnvSpec({}, {"state": 4}, ActionSpec(5, (3, 2)))
BOTH = EnvSpec({"image": (32, 32, 3)}, {"state": 3}, ActionSpec(2))

SIZES: dict[str, Any] = {"stoch": 3, "deter": 5, "hidden": 6, "cnn_depth": 2, "units": 8, "horizon": 4}
PLANS: dict[str, Any] = {
    "plan_horizon": 3,
    "plan_iterations": 2,
    "plan_candidates": 10,
    "plan_elites": 3,
}
PLAIN: dict[str, Any] = {"device": "cpu", "precision": "float32", "fast": False}

KINDS: dict[str, tuple[EnvSpec, dict[str, Any]]] = {
    "dreamer": (IMAGE, {}),
    "above the free nats": (IMAGE, {"free_nats": 0.0}),
    "images and vectors": (BOTH, {}),
    "discrete, with ends": (BUTTONS, {"pcont": True}),
    "no value": (IMAGE, {"agent": "no-value"}),
    "no value, discrete": (BUTTONS, {"agent": "no-value"}),
    "planet": (IMAGE, {"agent": "planet"}),
    "contrastive": (IMAGE, {"objective": "contrastive"}),
    "contrastive as in TF1": (IMAGE, {"objective": "contrastive-tf1"}),
    "reward only": (IMAGE, {"objective": "reward-only"}),
    "without a decoder": (IMAGE, {"objective": "reward-only", "video_every": 0}),
    "free nats of each step": (IMAGE, {"free_avg": False}),
    "scaled gradient of the posterior": (IMAGE, {"free_nats": 1000.0, "rep_scale": 0.1}),
    "squashed rewards": (IMAGE, {"clip_rewards": "tanh"}),
}
"""Every way in which an agent can learn: the environment, and the options that differ from the defaults."""


def small_config(**options: Any) -> Config:
    """A configuration with small networks: float32 and the plain methods, unless told otherwise."""
    return with_options(Config(), SIZES | PLANS | PLAIN | options)


def small_agent(spec: EnvSpec = IMAGE, /, **options: Any) -> Agent:
    """A small agent."""
    return make_agent(spec, small_config(**options))


def small_dreamer(spec: EnvSpec = IMAGE, /, **options: Any) -> Dreamer:
    """A small Dreamer, without the agent round it."""
    algorithm = small_agent(spec, **options).algorithm
    assert isinstance(algorithm, Dreamer)
    return algorithm


def learner(agent: Agent) -> Dreamer | NoValue | PlaNet:
    """The algorithm of an agent that has a world model."""
    assert isinstance(agent.algorithm, Dreamer | NoValue | PlaNet)
    return agent.algorithm


def random_batch(spec: EnvSpec = IMAGE, rows: int = 3, length: int = 7, seed: int = 0) -> Batch:
    """Random sequences `(rows, length, ...)`, each an episode from its beginning on."""
    return random_data.random_batch(spec, rows, length, seed)


def random_observation(spec: EnvSpec, n: int, seed: int = 0) -> Observation:
    """Random observations of `n` environments, `(n, ...)`."""
    batch = random_data.random_batch(spec, n, 1, seed)
    return {key: batch[key][:, 0].numpy() for key in spec.images | spec.vectors}


def random_noise(algorithm: Learner, batch: Batch, seed: int = 0) -> Noise:
    """The noise of one update on a batch."""
    generator = torch.Generator(batch["reward"].device).manual_seed(seed)
    rows, length = batch["reward"].shape
    return algorithm.draw_noise(rows, length, generator)


def weights(module: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights of each network of an algorithm, as one vector."""
    return {
        name: torch.cat([p.detach().flatten().clone() for p in network.parameters()])
        for name, network in module.named_children()
        if any(True for _ in network.parameters())
    }


def moved(algorithm: nn.Module, before: dict[str, Tensor]) -> set[str]:
    """The networks whose weights are not what they were."""
    return {name for name, vector in weights(algorithm).items() if not torch.equal(vector, before[name])}


def first_gradients(algorithm: Learner, metrics: Metrics) -> dict[str, list[Tensor]]:
    """The gradients that an algorithm's first update took, before clipping, for each of its optimizers.

    Adam's first moments are then a tenth of the clipped gradients.
    """
    optimizers, gradients = algorithm.optimizers, {}
    for name, adam in optimizers.optimizers.items():
        scale = (optimizers.grad_clip / metrics[f"{name}/grad_norm"]).clamp(max=1.0)
        gradients[name] = [10 * m / scale for m in adam.m]
    return gradients


def trial_update(
    algorithm: Learner, batch: Batch, noise: Noise, phase: Phase = "all"
) -> tuple[Metrics, dict[str, list[Tensor]]]:
    """Metrics and gradients of a first update that a copy takes; the algorithm itself stays as it is."""
    trial = copy.deepcopy(algorithm)
    metrics = trial.update(batch, noise, phase)
    trained = {name for name in trial.optimizers.optimizers if f"{name}/grad_norm" in metrics}
    trial.optimizers.optimizers = {name: trial.optimizers.optimizers[name] for name in trained}
    return metrics, first_gradients(trial, metrics)


def is_one_hot(action: np.ndarray, groups: tuple[int, ...]) -> bool:
    """Whether every row is a one-hot vector for each of the groups."""
    parts = np.split(action, np.cumsum(groups)[:-1], axis=-1)
    return bool(np.isin(action, [0, 1]).all() and all((part.sum(-1) == 1).all() for part in parts))
