"""D4PG, distributed distributional deterministic policy gradients (Barth-Maron et al. 2018, Algorithm 1).

An actor pi_theta and a critic Z_w learn from past transitions, without a world model. The critic predicts the
distribution of the return: a probability for each of n fixed returns, the atoms z_1 ... z_n.

    target    Y_t = sum_{k<N} gamma^k r_{t+k+1} + gamma^N Z_w'(o_{t+N}, pi_theta'(o_{t+N}))       n_step_return
              brought back onto the atoms                                                        project
    critic    minimizes  E[ weight_t H(Y_t, Z_w(o_t, a_t)) ],  H: cross-entropy                   D4PG.update
    actor     maximizes  E[ Q(o_t, pi_theta(o_t)) ],  Q: the mean of Z_w                          D4PG.update
    replay    draws t in proportion to KL(Y_t || Z_w)^a, weight_t = (N P(t))^-b         replay/transitions.py
    acting    a_t = pi_theta(o_t) + sigma_i noise, in environment i                               D4PG.act

w' and theta' are copies of the weights, renewed every `target_every` updates. If an episode ends within N steps, the
sum ends there: at a time limit with Z_w' of the last observation, at a termination without.

Networks are those of the Control Suite's report (Tassa et al. 2018: T18) and of Acme (Hoffman et al. 2020). Element t
of a sequence holds o_t and the action that LED to it (`dreamer.types`), so a_t is in element t + 1, as is r_{t+1}.
"""

import copy
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dreamer.agents.model_free import ModelFree
from dreamer.agents.optimizers import Optimizers
from dreamer.agents.policy_state import PolicyState
from dreamer.baselines.options import D4PGConfig
from dreamer.behavior.exploration import add_noise
from dreamer.config import Config
from dreamer.errors import UserError
from dreamer.types import Batch, EnvSpec, Metrics, Noise, Phase, Transitions

ACTOR_UNITS, CRITIC_UNITS = (300, 200), (400, 300)
CHANNELS, NARROW = 32, 50
"""Of both convolutions, and the width between them and the dense layers (T18, Section 5)."""


class D4PG(ModelFree):
    """Actor, critic, and a copy of both that the targets are computed with."""

    def __init__(self, spec: EnvSpec, config: Config):
        super().__init__()
        if spec.action.discrete:
            raise UserError(
                f"--agent d4pg has continuous actions only, and {config.environment.env} has discrete ones:"
                " take --agent dreamer or a3c."
            )
        assert isinstance(config.baseline, D4PGConfig)
        self.spec, self.config, self.options = spec, config, config.baseline
        self.networks = Networks(spec, self.options)
        self.target = copy.deepcopy(self.networks).requires_grad_(False)
        atoms = torch.linspace(-self.options.v_max, self.options.v_max, self.options.atoms)
        self.register_buffer("atoms", atoms, persistent=False)
        critic = [*self.networks.encoder.parameters(), *self.networks.critic.parameters()]
        actor = [*self.networks.actor.parameters()]
        self.optimizers = Optimizers({"value": critic, "actor": actor}, config.optimizer)
        # A batch holds transitions, the images before them, and the N steps after them.
        before = self.options.frame_stack - 1 if spec.images else 0
        priority, correction = self.options.priority, self.options.priority_correction
        transitions = Transitions(before, self.options.n_step, priority, correction)
        self.transitions: Transitions = transitions  # pyright: ignore[reportIncompatibleVariableOverride]

    atoms: Tensor

    def update(self, batch: Batch, noise: Noise, phase: Phase = "all") -> Metrics:
        """One gradient step of critic and actor on transitions, rows `(B, before + 1 + N, ...)`.

        Returns with the metrics the `priority` of each row, `(B,)`: how far its prediction was off.
        """
        del noise, phase
        self._renew_target()
        begin = self.transitions.before  # the element where transitions begin
        returns, discount, steps = n_step_return(batch, begin, self.config.behavior.gamma)  # (B,) each
        t = torch.full_like(steps, begin)

        # Target Y_t
        with torch.no_grad():
            features = self.target.encoder(self._observation(batch, t + steps))
            action = self.target.act(features)
            probability = self.target.critic(features, action).softmax(-1)  # (B, n)
            values = returns.unsqueeze(-1) + discount.unsqueeze(-1) * self.atoms
            target = project(values, probability, self.atoms)

        # Critic: cross-entropy of its prediction with the target
        features = self.networks.encoder(self._observation(batch, t))
        prediction = self.networks.critic(features, batch["action"][:, begin + 1]).log_softmax(-1)
        cross_entropy = -(target * prediction).sum(-1)  # (B,)
        critic_loss = (batch["weight"] * cross_entropy).mean()

        # Actor: the gradient is dQ/da da/dtheta, with dQ/da clipped; the critic alone trains the convolutions (T18)
        features = features.detach()
        action = self.networks.act(features)
        value = (self.networks.critic(features, action).softmax(-1) * self.atoms).sum(-1)
        (slope,) = torch.autograd.grad(value.sum(), action)  # dQ/da; the critic is not trained by it
        actor_loss = -(slope.clamp(-1, 1) * action).sum(-1).mean()

        metrics = self.optimizers.step({"value": critic_loss, "actor": actor_loss})
        entropy = torch.special.entr(target).sum(-1)
        divergence = cross_entropy.detach() - entropy  # KL(Y || Z) = H(Y, Z) - H(Y)
        return metrics | {
            "value/loss": critic_loss.detach(),
            "value/kl": divergence.mean(),
            "value/mean": value.detach().mean(),
            "priority": divergence.clamp(min=0),
        }

    @torch.no_grad()
    def _renew_target(self) -> None:
        """Copy the networks into the target networks before every `target_every`-th update.

        The count is compared on the device, so that nothing waits for a GPU.
        """
        due = self.optimizers.optimizers["value"].steps % self.options.target_every == 0
        for target, parameter in zip(self.target.parameters(), self.networks.parameters(), strict=True):
            target.copy_(torch.where(due, parameter, target))

    def _observation(self, batch: Batch, t: Tensor) -> dict[str, Tensor]:
        """Return what is seen at elements `t` `(B,)` of each row: vectors, and images stacked."""
        rows = torch.arange(len(t), device=t.device)
        vectors = {key: batch[key][rows, t] for key in self.spec.vectors}
        stack = self.options.frame_stack
        return vectors | {key: stacked(batch[key], batch["is_first"], t, stack) for key in self.spec.images}

    def initial_state(self, n: int) -> PolicyState:
        """Return what `act` begins the episodes of `n` environments with: no images."""
        width = sum(math.prod(shape) for shape in self.spec.images.values()) * self.options.frame_stack
        zeros = self.atoms.new_zeros
        return PolicyState(ImageStack(zeros(n, width), zeros(n, 1)), zeros(n, self.spec.action.size))

    @torch.no_grad()
    def act(
        self, obs: dict[str, Tensor], state: PolicyState, explore: bool, generator: torch.Generator
    ) -> PolicyState:
        """Act on observations `(N, ...)`, exploring in environment i of N with i / N of the noise (T18)."""
        stack, images = self._push(obs, state.latent)
        vectors = {key: obs[key] for key in self.spec.vectors}
        action = self.networks.act(self.networks.encoder(vectors | images))  # (N, A)
        if explore:
            share = torch.arange(1, len(action) + 1, device=action.device) / len(action)
            noise = torch.randn(action.shape, generator=generator, device=action.device)
            action = add_noise(action, share.unsqueeze(-1) * noise, self.config.behavior.expl_noise)
        return PolicyState(stack, action)

    def _push(self, obs: dict[str, Tensor], before: "ImageStack") -> tuple["ImageStack", dict[str, Tensor]]:
        """Put the newest images in place of the oldest; return that, and `(N, H, W, stack C)` by key to look at."""
        n, stack = len(before.seen), self.options.frame_stack
        newest = [obs[key].flatten(1).float() for key in self.spec.images]
        if not newest:
            return before, {}
        new = torch.cat(newest, -1).unsqueeze(1)  # (N, 1, pixels)
        old = before.pixels.view(n, stack, -1)
        old = torch.where(before.seen.unsqueeze(-1) > 0, old, new)  # the first image stands for those before
        pixels = torch.cat([old[:, 1:], new], 1)
        parts = pixels.split([math.prod(shape) for shape in self.spec.images.values()], -1)
        named = zip(self.spec.images.items(), parts, strict=True)
        images = {key: joined(part.reshape(n, stack, *shape)) for (key, shape), part in named}
        return ImageStack(pixels.flatten(1), torch.ones_like(before.seen)), images


class ImageStack(NamedTuple):
    """The newest images of N environments, flat: `(N, stack pixels)`; `seen` `(N, 1)`: 0 before the first."""

    pixels: Tensor
    seen: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> "ImageStack":
        """Apply a function to both tensors."""
        return ImageStack(function(self.pixels), function(self.seen))


# -- the equations ---------------------------------------------------------------------------------------


def n_step_return(batch: Batch, t: int, gamma: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return the discounted sum of m rewards after element `t`, the discount of what comes then, and m.

    Each is `(B,)`. m is the number of steps that the row has, or fewer if the episode ends before. The
    discount is gamma^m, or 0 if the episode terminated.
    """
    following = slice(t + 1, None)
    within = (~batch["is_first"][:, following]).long().cumprod(1)  # (B, N): 1 up to the end of the episode
    factor = torch.where(within > 0, gamma * batch["discount"][:, following], 1.0)
    discount = factor.cumprod(1)  # gamma^{k+1}, and 0 from a termination on
    earlier = torch.cat([torch.ones_like(discount[:, :1]), discount[:, :-1]], 1)  # gamma^k
    returns = (earlier * within * batch["reward"][:, following]).sum(1)
    return returns, discount[:, -1], within.sum(1)


def project(values: Tensor, probability: Tensor, atoms: Tensor) -> Tensor:
    """Bring `probability` `(B, n)` of `values` `(B, n)` onto equidistant `atoms` `(n,)`.

    The two atoms beside a value share its probability, the nearer one gets more; beyond the ends the
    outermost gets all. Every row sums to what it did (Bellemare et al. 2017, Algorithm 1).
    """
    spacing = (atoms[-1] - atoms[0]) / (len(atoms) - 1)
    place = (values.clamp(atoms[0], atoms[-1]) - atoms[0]) / spacing  # in [0, n - 1]
    distance = (place.unsqueeze(-1) - torch.arange(len(atoms), device=atoms.device)).abs()  # (B, n, n)
    share = (1 - distance).clamp(min=0)
    return (probability.unsqueeze(-2) @ share).squeeze(-2)


def stacked(images: Tensor, is_first: Tensor, t: Tensor, number: int) -> Tensor:
    """Return the `number` images up to element `t` `(B,)` of `(B, T, H, W, C)`, the oldest first.

    Where the episode began less than that before, its first image is repeated.
    """
    rows, elements = torch.arange(len(t), device=t.device), torch.arange(is_first.shape[1], device=t.device)
    begun = is_first & (elements <= t.unsqueeze(-1))
    begin = torch.where(begun, elements, 0).amax(-1, keepdim=True)  # (B, 1)
    wanted = t.unsqueeze(-1) - torch.arange(number - 1, -1, -1, device=t.device)
    return joined(images[rows.unsqueeze(-1), torch.maximum(wanted, begin)])


def joined(images: Tensor) -> Tensor:
    """Lay images `(B, number, H, W, C)` upon each other: `(B, H, W, number C)`."""
    return images.permute(0, 2, 3, 1, 4).flatten(-2)


# -- the networks ----------------------------------------------------------------------------------------


class Networks(nn.Module):
    """Encoder, actor and critic."""

    def __init__(self, spec: EnvSpec, options: D4PGConfig):
        super().__init__()
        self.encoder = Encoder(spec, options.frame_stack)
        narrow, actions = bool(spec.images), spec.action.size
        self.actor = Head(self.encoder.size, narrow, 0, ACTOR_UNITS, actions, variance=1e-4)
        self.critic = Head(self.encoder.size, narrow, actions, CRITIC_UNITS, options.atoms, variance=1.0)

    def act(self, features: Tensor) -> Tensor:
        """Return actions `(B, A)` in [-1, 1], near 0 at first."""
        return self.actor(features).tanh()


class Encoder(nn.Module):
    """Vectors as they are, and images through two convolutions: `(B, ...)` -> `(B, F)`."""

    def __init__(self, spec: EnvSpec, stack: int):
        super().__init__()
        self.vectors, self.images = list(spec.vectors), list(spec.images)
        self.convolutions, self.size = nn.ModuleList(), sum(spec.vectors.values())
        for height, width, channels in spec.images.values():
            first, second = nn.Conv2d(stack * channels, CHANNELS, 3, 2), nn.Conv2d(CHANNELS, CHANNELS, 3)
            self.convolutions.append(nn.Sequential(first, nn.ELU(), second, nn.ELU()))
            self.size += CHANNELS * ((height - 1) // 2 - 2) * ((width - 1) // 2 - 2)

    def forward(self, obs: dict[str, Tensor]) -> Tensor:
        images = [obs[key].permute(0, 3, 1, 2).float() / 255 for key in self.images]
        maps = [layers(x).flatten(1) for layers, x in zip(self.convolutions, images, strict=True)]
        return torch.cat([*(obs[key].float() for key in self.vectors), *maps], -1)


class Head(nn.Module):
    """Dense layers over features `(B, F)`, and over actions `(B, A)` if it is the critic: `(B, outputs)`.

    `narrow` puts a layer of 50 before them. `variance` is about that of an output at first, for inputs of variance 1.
    """

    def __init__(
        self, features: int, narrow: bool, actions: int, units: tuple[int, int], outputs: int, variance: float
    ):
        super().__init__()
        self.narrow = squashed(features, NARROW) if narrow else nn.Identity()
        inputs = (NARROW if narrow else features) + actions
        self.first, self.second = squashed(inputs, units[0]), uniform_(nn.Linear(*units))
        self.out = nn.Linear(units[1], outputs)
        std = (variance / units[1]) ** 0.5  # normal, cut off at two deviations (Acme)
        nn.init.trunc_normal_(self.out.weight, std=std, a=-2 * std, b=2 * std)
        nn.init.zeros_(self.out.bias)

    def forward(self, features: Tensor, action: Tensor | None = None) -> Tensor:
        x = self.narrow(features)
        x = x if action is None else torch.cat([x, action], -1)
        return self.out(F.elu(self.second(self.first(x)))).float()


def squashed(inputs: int, outputs: int) -> nn.Sequential:
    """Make a dense layer with layer normalization and tanh, which bounds what the next one reads."""
    return nn.Sequential(uniform_(nn.Linear(inputs, outputs)), nn.LayerNorm(outputs), nn.Tanh())


def uniform_(layer: nn.Linear) -> nn.Linear:
    """Initialize a layer in place: weights uniform within 1 / sqrt(outputs), biases 0 (Acme)."""
    nn.init.uniform_(layer.weight, -(layer.out_features**-0.5), layer.out_features**-0.5)
    nn.init.zeros_(layer.bias)
    return layer
