"""Planning by the cross-entropy method, as PlaNet does (Hafner et al., 2019, Algorithm 2; paper, Figure 7).

Each iteration draws J plans of H actions from a Gaussian, clips them to [-1, 1], scores them in imagination, and fits
the Gaussian to the best of them. At every agent step the search starts again from N(0, 1). Shapes: N environments, J
candidates, H steps, A action, S stochastic state.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from dreamer.behavior.imagination import discount_weights
from dreamer.world_model.rssm import State, given
from dreamer.world_model.world_model import WorldModel

MIN_VARIANCE = 1e-6


class PlanNoise(NamedTuple):
    """All randomness of one iteration: `action` `(H, N, J, A)` and `state` `(H, N, J, S)`."""

    action: Tensor
    state: Tensor


def cem(
    returns_of: Callable[[Tensor, Tensor], Tensor],
    noise: Iterable[PlanNoise],
    shape: tuple[int, int, int],
    elites: int,
) -> Tensor:
    """Maximize `returns_of(actions, state_noise) -> (N, J)` over plans, with one iteration per element of `noise`.

    `shape` is (H, N, A). Returns the mean of the last fit, `(H, N, A)`.
    """
    horizon, n, size = shape
    mean, std = torch.zeros(horizon, n, 1, size), torch.ones(horizon, n, 1, size)
    for noise_a, noise_s in noise:
        actions = (mean.to(noise_a) + std.to(noise_a) * noise_a).clamp(-1, 1)  # (H, N, J, A)
        mean, std = fit_elites(actions, returns_of(actions, noise_s), elites)
    return mean.squeeze(2)


def fit_elites(
    actions: Float[Tensor, "H N J A"], returns: Float[Tensor, "N J"], elites: int
) -> tuple[Float[Tensor, "H N 1 A"], Float[Tensor, "H N 1 A"]]:
    """Return mean and deviation `(H, N, 1, A)` of the plans `(H, N, J, A)` with the best returns `(N, J)`."""
    best = returns.topk(elites, dim=-1).indices  # (N, elites)
    index = best[None, :, :, None].expand(len(actions), -1, -1, actions.shape[-1])
    variance, mean = torch.var_mean(actions.gather(2, index), dim=2, correction=0, keepdim=True)
    return mean, (variance + MIN_VARIANCE).sqrt()


def plan_returns(
    model: WorldModel, start: State, actions: Float[Tensor, "H N J A"], noise: Float[Tensor, "H N J S"]
) -> Float[Tensor, "N J"]:
    """Return the sum of the predicted rewards of plans `(H, N, J, A)` from `start` `(N, .)`: `(N, J)`.

    With a discount head, each reward is weighted by the predicted discounts of the imagined states before it, so that
    rewards after a termination do not count. PlaNet has no discount head; without it, all weights are 1.
    """
    n, candidates = actions.shape[1:3]
    start = start.map(lambda x: x.repeat_interleave(candidates, 0))  # (N J, .)
    feat = model.rssm.imagine(given, start, actions.flatten(1, 2), noise.flatten(1, 2)).feat  # (H, N J, F)
    reward = model.reward(feat)  # (H, N J)
    if model.pcont is not None:
        reward = discount_weights(model.discount(feat)) * reward
    return reward.sum(0).view(n, candidates)


class Planner:
    """The search for plans in a world model, with its settings."""

    def __init__(self, action_size: int, horizon: int, iterations: int, candidates: int, elites: int):
        self.action_size, self.horizon, self.iterations = action_size, horizon, iterations
        self.candidates, self.elites = candidates, elites

    def plan(self, model: WorldModel, start: State, noise: Iterable[PlanNoise]) -> Tensor:
        """Return the first actions `(N, A)` of the best plans from `start` `(N, .)`."""
        shape = (self.horizon, len(start.stoch), self.action_size)
        return cem(lambda actions, n: plan_returns(model, start, actions, n), noise, shape, self.elites)[0]

    def draw_noise(self, start: State, generator: torch.Generator) -> Iterator[PlanNoise]:
        """Yield the noise of every iteration, drawn when the iteration begins."""
        n, stoch = start.stoch.shape
        shape, device = (self.horizon, n, self.candidates), generator.device
        for _ in range(self.iterations):
            action = torch.randn(*shape, self.action_size, generator=generator, device=device)
            yield PlanNoise(action, torch.randn(*shape, stoch, generator=generator, device=device))
