"""What all agents with a world model share: they learn it, filter with it, and explore alike.

An agent adds how it acts (`choose`) and, unless it only plans, what else it learns from a batch
(`behavior_losses`). All losses are taken at the same parameters, then the networks are updated
(TF2 dreamer.py:157-240).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dreamer.agents.agent import Learning, Metrics, Observation
from dreamer.agents.optimizer import Optimizer
from dreamer.agents.policy_state import PolicyState
from dreamer.agents.precision import autocast, pick_device, pick_dtype, settle_float32
from dreamer.agents.ranks import Ranks
from dreamer.agents.side_by_side import SideBySide
from dreamer.behavior.behavior import alive_starts, imagination_starts
from dreamer.behavior.exploration import add_noise, epsilon_at, epsilon_greedy, random_action
from dreamer.behavior.imagine import ImaginationNoise
from dreamer.config import Config
from dreamer.spec import EnvSpec
from dreamer.world_model.state import State
from dreamer.world_model.world_model import WorldModel

Losses = dict[str, Tensor]
Gradients = dict[str, tuple[Tensor, ...]]
DrawNoise = Callable[[int, int, torch.Generator | None], ImaginationNoise]


class ModelBasedAgent(ABC):
    """A world model and a `behavior`, each of whose parts (if any) has an optimiser of its own."""

    learns = True
    behavior: nn.Module

    def __init__(self, spec: EnvSpec, config: Config):
        self.spec, self.config = spec, config
        self.ranks = Ranks()
        self.device = pick_device(config.training.device)
        self.side_by_side = SideBySide(self.device)
        self.dtype = pick_dtype(config.training.precision, self.device)
        settle_float32(self.device, self.dtype)
        with torch.random.fork_rng(devices=[]):  # initial weights depend on the seed alone
            torch.manual_seed(config.training.seed)
            self.world_model = WorldModel(spec, config.model, config.behavior.gamma, config.has_decoder)
            self.behavior = self.make_behavior()
        self.world_model.to(self.device)
        self.behavior.to(self.device)
        self.generator = torch.Generator(self.device).manual_seed(config.training.seed)
        rates = config.optimizer
        self.optimizers = {"model": self._optimizer(self.world_model.learners(), rates.model_lr)}
        for name, part in self.behavior.named_children():
            self.optimizers[name] = self._optimizer(list(part.parameters()), getattr(rates, f"{name}_lr"))
        if self.world_model.diagnoses:
            onlookers = list(self.world_model.decoder.parameters())
            self.optimizers["decoder"] = self._optimizer(onlookers, rates.model_lr)

    def _optimizer(self, parameters: list[nn.Parameter], lr: float) -> Optimizer:
        return Optimizer(parameters, lr, self.config.optimizer.grad_clip)

    # -- what an agent adds ------------------------------------------------------------------------------

    @abstractmethod
    def make_behavior(self) -> nn.Module:
        """What acts on the latent states, made after the world model."""

    @abstractmethod
    def choose(self, latent: State, explore: bool, generator: torch.Generator) -> Tensor:
        """Actions `(N, A)` in the states `(N, .)`, before exploration noise."""

    def behavior_losses(self, start: State, alive: Tensor | float) -> tuple[dict[str, Tensor], Metrics]:
        """Losses by optimiser, for dreams from `start` `(N, .)`; those count that are `alive` `(N,)`."""
        del start, alive
        return {}, {}

    # -- learning ----------------------------------------------------------------------------------------

    def update(self, batch: dict[str, Tensor], learning: Learning = "all") -> Metrics:
        """One gradient step of all networks on a batch `(B, L, ...)`, or of some (see `Learning`).

        Of several processes each is given its own rows: the step is the one of all rows together.
        If any loss or gradient is not finite no network changes: `skipped` is 1 among the metrics then, and
        the others show which it was. Nothing here waits for the device.
        """
        # Dynamics learning
        losses, metrics, posterior = self._learn_dynamics(batch)
        # Behaviour learning: from the posterior states on, neither needs anything of the other.
        if learning == "model":
            gradients = self._gradients(losses)
        else:
            gradients, (more_losses, more, more_gradients) = self.side_by_side.run(
                lambda: self._gradients(losses), lambda: self._learn_behavior(posterior, batch, learning)
            )
            losses, metrics, gradients = losses | more_losses, metrics | more, gradients | more_gradients
        # Update: all gradients are taken before the first network changes.
        gradients = {name: self.ranks.means(tensors) for name, tensors in gradients.items()}
        losses, metrics = self.ranks.mean_scalars(losses), self.ranks.mean_scalars(metrics)
        norms = {name: torch.nn.utils.get_total_norm(g) for name, g in gradients.items()}
        finite = torch.stack([*losses.values(), *norms.values()]).isfinite().all()
        for name in gradients:
            self.optimizers[name].apply(gradients[name], norms[name], finite)
        metrics |= {f"{name}/grad_norm": norm for name, norm in norms.items()}
        return metrics | {"skipped": (~finite).float()}

    def _learn_dynamics(self, batch: dict[str, Tensor]) -> tuple[Losses, Metrics, State]:
        """Losses and metrics of the world model, and of a decoder that only looks on; posterior states."""
        with autocast(self.device, self.dtype):
            loss, metrics, posterior = self.world_model.loss(
                batch, self._filter_noise(batch), self.ranks.mean
            )
            losses = {"model": loss}
            if self.world_model.diagnoses:
                losses["decoder"], more = self.world_model.diagnostic_loss(posterior, batch)
                metrics |= more
        return losses, metrics, posterior

    def _learn_behavior(
        self, posterior: State, batch: dict[str, Tensor], learning: Learning
    ) -> tuple[Losses, Metrics, Gradients]:
        """Losses, metrics and gradients of what learns in dreams, if anything does."""
        with autocast(self.device, self.dtype):
            losses, metrics = self.behavior_losses(*self._starts(posterior, batch))
        if learning == "model and value":
            losses.pop("actor", None)
        return losses, metrics, self._gradients(losses)

    def _gradients(self, losses: Losses) -> Gradients:
        """Of each loss by its own network."""
        return {
            name: self.optimizers[name].gradients(loss, retain_graph=name == "value")
            for name, loss in losses.items()
        }

    def _starts(self, posterior: State, batch: dict[str, Tensor]) -> tuple[State, Tensor | float]:
        """Where dreams begin, and which of them count: where episodes may end, none from an end."""
        if self.world_model.pcont is None:
            return imagination_starts(posterior, drop_last=False), 1.0
        alive = alive_starts(batch["discount"], batch["is_first"], drop_last=True)
        return imagination_starts(posterior, drop_last=True), alive

    # -- acting ------------------------------------------------------------------------------------------

    def initial_state(self, n: int) -> PolicyState:
        """Zeros: no memory and no previous action."""
        action = torch.zeros(n, self.spec.action.size, device=self.device)
        return PolicyState(self.world_model.rssm.initial(n), action)

    @torch.no_grad()
    def policy(
        self, obs: Observation, state: PolicyState, explore: bool, generator: torch.Generator
    ) -> tuple[np.ndarray, PolicyState]:
        """Filter the observation, then act: with exploration (`explore`), or as well as can be."""
        tensors = {key: torch.as_tensor(x, device=self.device) for key, x in obs.items()}
        noise = torch.randn(state.latent.stoch.shape, generator=generator, device=self.device)
        latent = self.filter(tensors, state, noise)
        action = self.choose(latent, explore, generator)
        if explore:
            action = self._explored(action, generator)
        return action.cpu().numpy(), PolicyState(latent, action)

    def filter(self, obs: dict[str, Tensor], state: PolicyState, noise: Tensor) -> State:
        """The posterior state after one more observation `(N, ...)`, sampled with `noise` `(N, S)`."""
        embed = self.world_model.encoder(obs)
        return self.world_model.rssm.observe_step(state.latent, state.action, embed, noise)

    def explore(self, action: Tensor, noise: Tensor) -> Tensor:
        """Add Gaussian exploration noise to continuous actions, and clip to [-1, 1]."""
        return add_noise(action, noise, self.config.behavior.expl_noise)

    def _explored(self, action: Tensor, generator: torch.Generator) -> Tensor:
        if not self.spec.action.discrete:
            return self.explore(action, torch.randn(action.shape, generator=generator, device=self.device))
        random = random_action(self.spec.action, len(action), generator)
        uniform = torch.rand(len(action), generator=generator, device=self.device)
        epsilon = epsilon_at(int(self.optimizers["model"].steps))
        return epsilon_greedy(action, random, uniform, epsilon)

    def acting_state(self) -> dict[str, Any]:
        """The weights, and the updates so far, with which exploration may change (references, no copies)."""
        return {
            "world_model": self.world_model.state_dict(),
            "behavior": self.behavior.state_dict(),
            "updates": int(self.optimizers["model"].steps),
        }

    def load_acting_state(self, state: dict[str, Any]) -> None:
        """Copy what another agent's `acting_state` refers to; this agent cannot be trained any more."""
        for name, network in (("world_model", self.world_model), ("behavior", self.behavior)):
            network.load_state_dict(state[name])
            network.requires_grad_(False)  # Of weights that learn autocast keeps casts, which would grow old.
        self.optimizers["model"].steps.fill_(state["updates"])

    @property
    def predicts(self) -> bool:
        """Whether there is a decoder, which `open_loop` needs."""
        return self.world_model.decoder.draws

    def open_loop(
        self, batch: dict[str, Tensor], context: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Prediction without looking, see `WorldModel.open_loop`."""
        shape = (*batch["action"].shape[:2], self.config.model.stoch)
        noise = torch.randn(shape, generator=generator, device=self.device)
        return self.world_model.open_loop(batch, context, noise)

    # -- keeping -----------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on exactly: weights, optimisers, random state."""
        return {
            "world_model": self.world_model.state_dict(),
            "behavior": self.behavior.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.world_model.load_state_dict(state["world_model"])
        self.behavior.load_state_dict(state["behavior"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(state["optimizers"][name])
        self.generator.set_state(state["generator"].cpu())

    # -- noise: drawn for the whole batch by every process, which takes its share --------------------------

    def _filter_noise(self, batch: dict[str, Tensor]) -> Tensor:
        """For the filter `(B, L, S)`."""
        rows, length = batch["action"].shape[:2]
        shape = (rows * self.ranks.size, length, self.config.model.stoch)
        return self.ranks.own(torch.randn(shape, generator=self.generator, device=self.device))

    def dream_noise(self, draw_noise: DrawNoise, starts: int) -> ImaginationNoise:
        """For `starts` dreams, by the `draw_noise` of a behaviour."""
        whole = draw_noise(starts * self.ranks.size, self.config.model.stoch, self.generator)
        return ImaginationNoise(*(self.ranks.own(noise, dim=1) for noise in whole))
