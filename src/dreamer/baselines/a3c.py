"""A3C, asynchronous advantage actor-critic (Mnih et al. 2016, Algorithm S3), from state vectors.

Workers, each a process with an environment and a copy of the weights of its own, go round in

    copy the shared weights theta                                                                   Worker.round
    act for n steps, or to the end of the episode                                                   Worker._act
    R_t = r_{t+1} + gamma R_{t+1},  with R_n = V(o_n), or 0 if the episode terminated               returns
    A_t = R_t - V(o_t)                                                                              A3C.loss
    loss = sum_t  -log pi(a_t | o_t) A_t  +  1/2 A_t^2  -  beta H(pi(. | o_t))
    g <- alpha g + (1 - alpha) (d loss)^2,   theta <- theta - rate d loss / sqrt(g + epsilon)       SharedRMSProp

without locks: theta and the statistics g lie in shared memory, and what one worker changes the others see. In the first
term the advantage A_t is a constant. The rate falls linearly to 0.

Networks and settings are those of the Control Suite's report (Tassa et al. 2018: T18): two dense layers that actor and
critic share; a diagonal Gaussian whose mean passes tanh, with std = 0.01 + 2 sigmoid(.). Actions are clipped for the
environment alone: log-probabilities are those of what was drawn.

The policy's last layer begins near 0, so that all states have the same wide distribution at first (a choice: T18 does
not say). With larger weights the policy of a cartpole narrows to a constant push before V is learned.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Independent, Normal, OneHotCategorical
from torch.nn import functional as F

from dreamer.agents.model_free import ModelFree
from dreamer.agents.policy_state import PolicyState
from dreamer.baselines.options import A3CConfig
from dreamer.config import Config
from dreamer.errors import UserError
from dreamer.types import EnvSpec, Metrics
from dreamer.world_model.mlp import linear

UNITS = (256, 256)
DECAY, EPSILON = 0.99, 0.1
"""Of RMSProp: alpha and epsilon (T18)."""
MIN_STD, RANGE = 0.01, 2.0
"""The standard deviation of an action lies between MIN_STD and MIN_STD + RANGE (T18)."""
NEAR_ZERO = 1e-3
"""Standard deviation of the policy's last weights at first."""


class A3C(ModelFree):
    """Policy and value, two heads upon the same two layers."""

    def __init__(self, spec: EnvSpec, config: Config):
        super().__init__()
        if spec.images:
            raise UserError(
                "--agent a3c learns from state vectors: add --obs state, or take another --agent if there are none."
            )
        assert isinstance(config.baseline, A3CConfig)
        self.spec, self.config, self.options = spec, config, config.baseline
        self.keys, inputs = list(spec.vectors), sum(spec.vectors.values())
        self.first, self.second = linear(inputs, UNITS[0]), linear(*UNITS)
        actions = spec.action.size
        self.policy = linear(UNITS[1], actions if spec.action.discrete else 2 * actions)
        nn.init.normal_(self.policy.weight, std=NEAR_ZERO)
        self.value = linear(UNITS[1], 1)
        self.optimizers = SharedRMSProp(list(self.parameters()))

    def forward(self, obs: Tensor) -> tuple["Policy", Tensor]:
        """Return the distribution of actions and the value `(...)` of observations `(..., F)`."""
        x = F.elu(self.second(F.elu(self.first(obs))))
        return Policy(self.policy(x), self.spec.action.groups), self.value(x).squeeze(-1)

    def loss(self, rollout: "Rollout") -> tuple[Tensor, Metrics]:
        """Return the loss of a rollout, a sum over its steps, and metrics."""
        policy, value = self(rollout.obs)  # (n,)
        with torch.no_grad():
            estimate = self(rollout.last)[1]
        bootstrap = torch.zeros(()) if rollout.terminated else estimate  # R_n
        advantage = returns(rollout.reward, bootstrap, self.config.behavior.gamma) - value  # A_t, (n,)
        policy_loss = -(policy.log_prob(rollout.action) * advantage.detach()).sum()
        value_loss = 0.5 * advantage.square().sum()
        entropy = policy.entropy()  # (n,)
        loss = policy_loss + value_loss - self.options.entropy * entropy.sum()
        steps = len(value)
        metrics = {
            "actor/loss": policy_loss / steps,
            "value/loss": value_loss / steps,
            "value/mean": value.mean(),
            "actor/entropy": entropy.mean(),
        }
        return loss, {name: x.detach() for name, x in metrics.items()}

    def rate(self, env_step: int) -> float:
        """Return the learning rate after so many frames of all workers together."""
        return self.options.lr * max(0.0, 1 - env_step / self.options.anneal)

    def flat(self, obs: Mapping[str, Any]) -> Tensor:
        """Return observations of vectors `(..., n)` as one vector `(..., F)`."""
        return torch.cat([torch.as_tensor(obs[key]).float() for key in self.keys], -1)

    def initial_state(self, n: int) -> PolicyState:
        """Return what `act` begins the episodes of `n` environments with: nothing to remember."""
        zeros = self.value.weight.new_zeros
        return PolicyState(Nothing(zeros(n, 0)), zeros(n, self.spec.action.size))

    @torch.no_grad()
    def act(
        self, obs: dict[str, Tensor], state: PolicyState, explore: bool, generator: torch.Generator
    ) -> PolicyState:
        """Act on observations `(N, ...)`: the likeliest action in evaluation, else a sample."""
        policy, _ = self(self.flat(obs))
        action = policy.sample(generator) if explore else policy.mode()
        return PolicyState(state.latent, action if self.spec.action.discrete else action.clamp(-1, 1))


class Nothing(NamedTuple):
    """What an agent without memory carries: `(N, 0)`."""

    empty: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> "Nothing":
        """Apply a function to it."""
        return Nothing(function(self.empty))


class Policy:
    """The distribution of actions, from what the network puts out: `(..., A)`, or `(..., 2 A)` if continuous."""

    def __init__(self, outputs: Tensor, groups: tuple[int, ...]):
        if groups:
            self.parts = [OneHotCategorical(logits=x, validate_args=False) for x in outputs.split(groups, -1)]
        else:
            mean, std = outputs.chunk(2, -1)
            normal = Normal(mean.tanh(), MIN_STD + RANGE * std.sigmoid(), validate_args=False)
            self.parts = [Independent(normal, 1, validate_args=False)]
        self.sizes = groups

    def log_prob(self, action: Tensor) -> Tensor:
        """Return the log-probability `(...)` of actions `(..., A)` as they were drawn."""
        actions = action.split(self.sizes, -1) if self.sizes else [action]
        return torch.stack([part.log_prob(x) for part, x in zip(self.parts, actions, strict=True)]).sum(0)

    def entropy(self) -> Tensor:
        """Return the entropy `(...)`."""
        return torch.stack([part.entropy() for part in self.parts]).sum(0)

    def mode(self) -> Tensor:
        """Return the likeliest action `(..., A)`."""
        return torch.cat([part.mode for part in self.parts], -1)

    def sample(self, generator: torch.Generator) -> Tensor:
        """Draw actions `(..., A)`; continuous ones may lie outside [-1, 1]."""
        if not self.sizes:
            mean, std = self.parts[0].mean, self.parts[0].stddev
            return mean + std * torch.randn(mean.shape, generator=generator)
        drawn = [torch.multinomial(part.mean, 1, generator=generator).squeeze(-1) for part in self.parts]
        return torch.cat([F.one_hot(x, n).float() for x, n in zip(drawn, self.sizes, strict=True)], -1)


class Rollout(NamedTuple):
    """n steps of one episode: what was seen and done, the rewards that came, and what was seen last."""

    obs: Tensor  # (n, F)
    action: Tensor  # (n, A), before it was clipped
    reward: Tensor  # (n,)
    last: Tensor  # (F,)
    terminated: bool  # by itself: not at a time limit


def returns(reward: Tensor, bootstrap: Tensor, gamma: float) -> Tensor:
    """Return R_t = r_{t+1} + gamma R_{t+1} of every step of `(n,)`, with `bootstrap` after the last."""
    result, following = [], bootstrap
    for r in reward.flip(0):
        following = r + gamma * following
        result.append(following)
    return torch.stack(result).flip(0)


class SharedRMSProp:
    """RMSProp whose statistics, like the weights, may be changed by several processes at once."""

    def __init__(self, parameters: list[nn.Parameter]):
        self.parameters = parameters
        self.squares = [torch.zeros_like(x, requires_grad=False) for x in parameters]
        self.grad_step = 0

    def share_memory(self) -> None:
        """Move weights and statistics to where processes that are begun from now on see them."""
        for x in (*self.parameters, *self.squares):
            x.share_memory_()

    @torch.no_grad()
    def step(self, gradients: tuple[Tensor, ...], rate: float) -> None:
        """Change the weights along `gradients` in place."""
        for parameter, square, gradient in zip(self.parameters, self.squares, gradients, strict=True):
            square.mul_(DECAY).addcmul_(gradient, gradient, value=1 - DECAY)
            parameter.addcdiv_(gradient, (square + EPSILON).sqrt(), value=-rate)

    def state_dict(self) -> dict[str, Any]:
        return {"squares": [x.clone() for x in self.squares], "grad_step": self.grad_step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Copy in place: other processes may see the tensors already."""
        for square, saved in zip(self.squares, state["squares"], strict=True):
            square.copy_(saved)
        self.grad_step = state["grad_step"]


class Worker:
    """One worker: it acts in `env`, from `make_env`, and changes the weights of the `shared` algorithm."""

    def __init__(self, shared: A3C, env: Any, seed: int):
        self.shared, self.env = shared, env
        self.local = A3C(shared.spec, shared.config)
        self.generator = torch.Generator().manual_seed(seed)
        self.obs = self.local.flat(env.reset(seed=seed)[0])
        self.total_return, self.length = 0.0, 0

    def round(self, env_step: int) -> "Round":
        """Copy the weights, act, and apply the gradient to the shared weights: one pass of the algorithm.

        A gradient that is not finite is skipped, since it would be the end of all workers.
        """
        self.local.load_state_dict(self.shared.state_dict())
        rollout, frames, finished = self._act()
        loss, metrics = self.local.loss(rollout)
        gradients = torch.autograd.grad(loss, list(self.local.parameters()))
        norm = torch.nn.utils.get_total_norm(gradients)
        if finite := norm.isfinite():
            self.shared.optimizers.step(gradients, self.shared.rate(env_step))
        metrics |= {"actor/grad_norm": norm, "skipped": (~finite).float()}
        return Round(frames, len(rollout.reward), metrics, finished)

    @torch.no_grad()
    def _act(self) -> tuple[Rollout, int, "tuple[float, int] | None"]:
        seen, actions, rewards, frames = [], [], [], 0
        terminated = truncated = False
        while len(rewards) < self.local.options.rollout and not (terminated or truncated):
            policy, value = self.local(self.obs)
            if not value.isfinite():
                raise UserError(
                    "The networks of A3C predict numbers that are not finite: go on from the last checkpoint with a"
                    " lower --lr, or begin again."
                )
            action = policy.sample(self.generator)
            seen.append(self.obs)
            actions.append(action)
            clipped = action if self.local.spec.action.discrete else action.clamp(-1, 1)
            obs, reward, terminated, truncated, info = self.env.step(clipped.numpy())
            self.obs = self.local.flat(obs)
            rewards.append(float(reward))
            frames += info["frames"]
        rollout = Rollout(
            torch.stack(seen), torch.stack(actions), torch.tensor(rewards), self.obs, bool(terminated)
        )
        self.total_return += float(np.sum(rewards))
        self.length += len(rewards)
        if not (terminated or truncated):
            return rollout, frames, None
        finished = self.total_return, self.length
        self.obs = self.local.flat(self.env.reset()[0])  # the next seed follows from the first
        self.total_return, self.length = 0.0, 0
        return rollout, frames, finished


class Round(NamedTuple):
    """What a round was: frames and agent steps taken, metrics, and the return and length of an episode that ended."""

    frames: int
    agent_steps: int
    metrics: Metrics
    finished: tuple[float, int] | None
