"""Planning by the cross-entropy method, as PlaNet does (Hafner et al., 2019, Algorithm 2; paper, Figure 7).

Plans of H actions are drawn from a Gaussian, clipped to [-1, 1] and judged; the Gaussian is fitted to the
best of them, and again. Each decision starts afresh from N(0, 1). Shapes: N environments, J candidates,
H steps, A action.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dreamer.behavior.lambda_return import discount_weights
from dreamer.world_model.dense import ScalarHead
from dreamer.world_model.rssm import RSSM
from dreamer.world_model.state import State

MIN_VARIANCE = 1e-6

Returns = Callable[[Tensor, Tensor], Tensor]
"""Judges plans `(H, N, J, A)` under noise `(H, N, J, S)`: `(N, J)`."""


class PlanNoise(NamedTuple):
    """All randomness of one round: `action` `(H, N, J, A)` and `state` `(H, N, J, S)`."""

    action: Tensor
    state: Tensor


def fit_elites(actions: Tensor, returns: Tensor, elites: int) -> tuple[Tensor, Tensor]:
    """Mean and deviation `(H, N, 1, A)` of the best plans `(H, N, J, A)` by their returns `(N, J)`."""
    best = returns.topk(elites, dim=-1).indices
    index = best[None, :, :, None].expand(len(actions), -1, -1, actions.shape[-1])
    variance, mean = torch.var_mean(actions.gather(2, index), dim=2, correction=0, keepdim=True)
    return mean, (variance + MIN_VARIANCE).sqrt()


def cem(
    returns_of: Returns,
    noise: Iterable[PlanNoise],
    shape: tuple[int, int, int],
    elites: int,
) -> Tensor:
    """Maximise `returns_of(actions, state_noise) -> (N, J)` over plans, a round for each element of `noise`.

    `shape` is (H, N, A). Returns the mean of the last fit, `(H, N, A)`; without a round that is zero.
    """
    horizon, n, size = shape
    mean, std = torch.zeros(horizon, n, 1, size), torch.ones(horizon, n, 1, size)
    for noise_a, noise_s in noise:
        actions = (mean.to(noise_a) + std.to(noise_a) * noise_a).clamp(-1, 1)
        mean, std = fit_elites(actions, returns_of(actions, noise_s), elites)
    return mean.squeeze(2)


def imagined_returns(
    rssm: RSSM, reward: ScalarHead, start: State, pcont: ScalarHead | None = None
) -> Returns:
    """The function that judges plans `(H, N, J, A)` from `start` `(N, .)` by their dreams: `(N, J)`.

    A return is the sum of the H predicted rewards (Hafner et al., 2019). With a discount head each is weighed
    by the predicted discounts of the imagined states before it, w_t = gamma_1 ... gamma_{t-1}, so that what
    lies behind an end is worth nothing; that is an addition of ours.
    """
    dynamics = rssm.over_time(learns=False)
    beginning = start.map(lambda x: x.unsqueeze(1))  # one for all candidates, which share the first step

    def returns_of(actions: Tensor, noise: Tensor) -> Tensor:
        state, features = beginning, []
        for action, noise_s in zip(actions, noise, strict=True):
            state = dynamics.imagine_step(state, action, noise_s)
            # In the precision of the memory, in which the heads take it: half of what has to be moved.
            features.append(torch.cat([state.stoch.to(state.deter), state.deter], -1))
        feat = torch.stack(features)
        if pcont is None:
            return reward(feat).sum(0)
        return (discount_weights(torch.sigmoid(pcont(feat))) * reward(feat)).sum(0)

    return returns_of


class Planner(nn.Module):
    """The numbers of the search, and the search with a world model; it has no weights of its own."""

    def __init__(self, action_size: int, horizon: int, iterations: int, candidates: int, elites: int):
        super().__init__()
        self.action_size, self.horizon, self.iterations = action_size, horizon, iterations
        self.candidates, self.elites = candidates, elites

    @torch.no_grad()
    def plan(
        self,
        rssm: RSSM,
        reward: ScalarHead,
        start: State,
        noise: Iterable[PlanNoise],
        pcont: ScalarHead | None = None,
    ) -> Tensor:
        """The first actions `(N, A)` of the best plans from `start` `(N, .)`; see `imagined_returns`."""
        shape = (self.horizon, len(start.stoch), self.action_size)
        return cem(imagined_returns(rssm, reward, start, pcont), noise, shape, self.elites)[0]

    def draw_noise(self, start: State, generator: torch.Generator | None) -> Iterator[PlanNoise]:
        """Independent noise for `iterations` rounds, drawn when its round comes."""
        n, stoch = start.stoch.shape
        device, lead = start.stoch.device, (self.horizon, n, self.candidates)
        for _ in range(self.iterations):
            action = torch.randn(*lead, self.action_size, generator=generator, device=device)
            yield PlanNoise(action, torch.randn(*lead, stoch, generator=generator, device=device))
