"""Dreamer (paper, Algorithm 1): the inner loop's two learning steps, and acting.

Dynamics learning and behaviour learning share a batch: the posterior states of the first start the dreams of
the second. All three losses are taken at the same parameters, then the three networks are updated
(TF2 dreamer.py:157-240).
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamer.agents.agent import Metrics, Observation
from dreamer.agents.optimizer import Optimizer
from dreamer.agents.policy_state import PolicyState
from dreamer.agents.precision import autocast, pick_device, pick_dtype
from dreamer.behavior.behavior import Behavior, imagination_starts
from dreamer.config import Config
from dreamer.envs.spec import EnvSpec
from dreamer.world_model.state import State
from dreamer.world_model.world_model import WorldModel


class Dreamer:
    """World model, actor and value model with their three optimisers."""

    def __init__(self, spec: EnvSpec, config: Config):
        self.spec, self.config = spec, config
        self.device = pick_device(config.training.device)
        self.dtype = pick_dtype(config.training.precision, self.device)
        with torch.random.fork_rng(devices=[]):  # initial weights depend on the seed alone
            torch.manual_seed(config.training.seed)
            self.world_model = WorldModel(spec, config.model, config.behavior.gamma)
            self.behavior = Behavior(self.world_model, config.model, config.behavior)
        self.world_model.to(self.device)
        self.behavior.to(self.device)
        self.generator = torch.Generator(self.device).manual_seed(config.training.seed)
        rates, opt = config.optimizer, Optimizer
        self.optimizers = {
            "model": opt(self.world_model.parameters(), rates.model_lr, rates.clip, rates.adam_eps),
            "actor": opt(self.behavior.actor.parameters(), rates.actor_lr, rates.clip, rates.adam_eps),
            "value": opt(self.behavior.value.parameters(), rates.value_lr, rates.clip, rates.adam_eps),
        }

    # -- learning ----------------------------------------------------------------------------------------

    def update(self, batch: dict[str, Tensor], behavior: bool = True) -> Metrics:
        """One gradient step of all networks on a batch `(B, L, ...)`; without `behavior`, of the model alone.

        If any loss or gradient is not finite no network changes: the metrics show which it was.
        """
        with autocast(self.device, self.dtype):
            # Dynamics learning
            noise = self._normal(*batch["action"].shape[:2], self.config.model.stoch)
            model_loss, metrics, posterior = self.world_model.loss(batch, noise)
            losses = {"model": model_loss}
            # Behaviour learning
            if behavior:
                start = imagination_starts(posterior, drop_last=self.world_model.pcont is not None)
                dreams = self.behavior.draw_noise(len(start.stoch), self.config.model.stoch, self.generator)
                actor_loss, value_loss, more = self.behavior.losses(self.world_model, start, dreams)
                losses |= {"value": value_loss, "actor": actor_loss}
                metrics |= more
        # Update: all gradients are taken before the first network changes.
        gradients = {
            name: self.optimizers[name].gradients(loss, retain_graph=name == "value")
            for name, loss in losses.items()
        }
        norms = {name: torch.nn.utils.get_total_norm(g) for name, g in gradients.items()}
        if bool(torch.stack([*losses.values(), *norms.values()]).isfinite().all()):
            for name, optimizer in self.optimizers.items():
                if name in gradients:
                    optimizer.apply(gradients[name], norms[name])
        return metrics | {f"{name}/grad_norm": norm for name, norm in norms.items()}

    # -- acting ------------------------------------------------------------------------------------------

    def initial_state(self, n: int) -> PolicyState:
        """Zeros: no memory and no previous action."""
        action = torch.zeros(n, self.spec.action.size, device=self.device)
        return PolicyState(self.world_model.rssm.initial(n), action)

    @torch.no_grad()
    def policy(
        self, obs: Observation, state: PolicyState, explore: bool, generator: torch.Generator
    ) -> tuple[np.ndarray, PolicyState]:
        """Filter the observation, then sample an action with noise (`explore`) or take the mode."""
        tensors = {key: torch.as_tensor(x, device=self.device) for key, x in obs.items()}
        noise = torch.randn(state.latent.stoch.shape, generator=generator, device=self.device)
        latent = self.filter(tensors, state, noise)
        distribution = self.behavior.actor(latent.feat)
        if explore:
            action = distribution.sample(self.behavior.actor.draw_noise(len(noise), generator=generator))
            action = self.explore(action, torch.randn(action.shape, generator=generator, device=self.device))
        else:
            samples = (self.config.behavior.mode_samples, len(noise))
            action = distribution.mode(self.behavior.actor.draw_noise(*samples, generator=generator))
        return action.cpu().numpy(), PolicyState(latent, action)

    def filter(self, obs: dict[str, Tensor], state: PolicyState, noise: Tensor) -> State:
        """The posterior state after one more observation `(N, ...)`, sampled with `noise` `(N, S)`."""
        embed = self.world_model.encoder(obs)
        return self.world_model.rssm.observe_step(state.latent, state.action, embed, noise)

    def explore(self, action: Tensor, noise: Tensor) -> Tensor:
        """Add Gaussian exploration noise and clip to [-1, 1] (paper, Section 5; TF2 dreamer.py:246-268)."""
        return (action + self.config.behavior.expl_noise * noise).clamp(-1, 1)

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

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self.generator, device=self.device)
