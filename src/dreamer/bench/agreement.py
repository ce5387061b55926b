"""Do the fast ways compute what the reference does? Paths in float32 against eager, bfloat16 against float32.

Two agents of the same seed take the same updates on the same batches with the same noise. Compared are the
losses and gradients of the first update, which stand at equal weights; and for information the weights after
the last one, relative to how far they have moved: errors of rounding grow from update to update, and Adam's
first steps turn a gradient near zero into a step of full size.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from dreamer.agents.make import make_agent
from dreamer.agents.model_based import ModelBasedAgent
from dreamer.agents.precision import pick_device
from dreamer.bench.paths import PATHS, UpdatePath, paths_for
from dreamer.config import Config, with_options
from dreamer.results.timing import random_batch
from dreamer.types import EnvSpec

TOLERANCE = {"float32": 1e-3, "bfloat16": 0.05}
"""Largest error of a loss or a gradient in the first update, by precision."""


@dataclass(frozen=True)
class Agreement:
    """How far `path` in `precision` is from the eager path in float32.

    `errors` of the first update: of a loss, relative to it, or to 1 where it is smaller; of a network's
    gradient, its distance from the reference's over that one's norm. `weights`: the distance of all weights
    after the last update, over the distance that they have gone.
    """

    path: str
    precision: str
    errors: dict[str, float]
    weights: float

    @property
    def worst(self) -> float:
        """The largest of the errors; NaN if one is not finite."""
        return max(self.errors.values(), key=lambda error: (error != error, error))

    @property
    def good(self) -> bool:
        """Whether that error is within the tolerance of the precision."""
        return self.worst <= TOLERANCE[self.precision]

    def as_json(self) -> dict[str, Any]:
        """All of it as plain numbers."""
        return {
            **asdict(self),
            "worst": self.worst,
            "good": self.good,
            "tolerance": TOLERANCE[self.precision],
        }


@dataclass(frozen=True)
class Course:
    """What a few updates did: losses and gradients of the first, and all weights before and after, `(P,)`."""

    losses: dict[str, float]
    gradients: dict[str, Tensor]
    before: Tensor
    after: Tensor


def compare_paths(spec: EnvSpec, config: Config, updates: int = 3) -> Iterator[Agreement]:
    """Compare every path in both precisions with the eager path in float32, on the device of `config`.

    If `config` has `fast` off, that path alone, in bfloat16.
    """
    reference = _course(spec, config, PATHS[0], "float32", updates)
    for path in paths_for(pick_device(config.training.device), config.training.fast):
        for precision in TOLERANCE:
            if (path.name, precision) != (PATHS[0].name, "float32"):
                course = _course(spec, config, path, precision, updates)
                yield _agreement(reference, course, path.name, precision)


def _course(spec: EnvSpec, config: Config, path: UpdatePath, precision: str, updates: int) -> Course:
    """Take some updates from the seed of `config`; the noise of each follows from its number."""
    agent = _agent(spec, with_options(config, {**path.options, "precision": precision}))
    update, before = path.make(agent), _weights(agent)
    losses, gradients = {}, {}
    for number in range(updates):
        agent.generator.manual_seed(number)
        metrics = update(_batch(spec, config, agent.device, number))
        if not number:
            losses = {name: float(value) for name, value in metrics.items() if name.endswith("loss")}
            gradients = _first_moments(agent)
    return Course(losses, gradients, before, _weights(agent))


def _agreement(reference: Course, other: Course, path: str, precision: str) -> Agreement:
    errors = {
        name: abs(other.losses[name] - loss) / max(abs(loss), 1.0) for name, loss in reference.losses.items()
    }
    for name, gradient in reference.gradients.items():
        errors[f"{name}/gradient"] = float((other.gradients[name] - gradient).norm() / gradient.norm())
    moved = (reference.after - reference.before).norm()
    return Agreement(path, precision, errors, float((other.after - reference.after).norm() / moved))


def _batch(spec: EnvSpec, config: Config, device: torch.device, number: int) -> dict[str, Tensor]:
    """Noise, but for the numbers of the batch: its rows are turned round, so that no two are equal."""
    batch = random_batch(spec, config.replay.batch_size, config.replay.batch_length, device)
    return {key: value.roll(number, 1) for key, value in batch.items()}


def _first_moments(agent: ModelBasedAgent) -> dict[str, Tensor]:
    """Adam's mean of the gradients of each network: after one update the gradient, but for a factor."""
    return {
        name: _flat([optimizer.adam.state[p]["exp_avg"] for p in optimizer.parameters])
        for name, optimizer in agent.optimizers.items()
    }


def _weights(agent: ModelBasedAgent) -> Tensor:
    return _flat([p.detach() for optimizer in agent.optimizers.values() for p in optimizer.parameters])


def _flat(tensors: list[Tensor]) -> Tensor:
    """A copy of them all as one vector."""
    return torch.cat([tensor.double().flatten().cpu() for tensor in tensors])


def _agent(spec: EnvSpec, config: Config) -> ModelBasedAgent:
    agent = make_agent(spec, config)
    assert isinstance(agent, ModelBasedAgent)
    return agent
