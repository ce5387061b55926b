"""An agent: an algorithm on a device, in a precision, with a random generator, which can be saved and loaded.

The algorithms (`dreamer.py`, `planet.py`, `no_value.py`, `random.py`, `baselines/`) know neither device nor precision,
and get their noise as an argument.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from dreamer.agents.dreamer import Dreamer
from dreamer.agents.model_free import ModelFree
from dreamer.agents.no_value import NoValue
from dreamer.agents.planet import PlaNet
from dreamer.agents.policy_state import PolicyState
from dreamer.agents.precision import autocast, pick_device, pick_dtype, set_float32_precision
from dreamer.agents.random import Random
from dreamer.config import Config
from dreamer.errors import UserError
from dreamer.types import Batch, Metrics, Noise, Observation, Phase, Transitions
from dreamer.world_model.rssm import State
from dreamer.world_model.world_model import WorldModel

Algorithm = Dreamer | NoValue | PlaNet | ModelFree | Random


class Agent:
    """Acts on observations of N environments and learns from batches of sequences."""

    def __init__(self, algorithm: Algorithm, config: Config):
        self.algorithm, self.spec = algorithm, algorithm.spec
        self.device = pick_device(config.training.device)
        self.dtype = pick_dtype(config.training.precision, self.device)
        set_float32_precision(self.device, self.dtype)
        self.algorithm.to(self.device)
        self.generator = torch.Generator(self.device).manual_seed(config.training.seed)

    @property
    def trainable(self) -> bool:
        """Whether `update` can be called."""
        if isinstance(self.algorithm, ModelFree):
            return self.algorithm.transitions is not None
        return not isinstance(self.algorithm, Random)

    @property
    def has_decoder(self) -> bool:
        """Whether `open_loop` can be called."""
        world_model = getattr(self.algorithm, "world_model", None)
        return isinstance(world_model, WorldModel) and bool(world_model.decoder.keys)

    @property
    def transitions(self) -> Transitions | None:
        """What a batch holds if the algorithm learns from transitions, not from sequences."""
        return self.algorithm.transitions if isinstance(self.algorithm, ModelFree) else None

    # -- learning ----------------------------------------------------------------------------------------

    def update(self, batch: Batch, phase: Phase = "all") -> Metrics:
        """Take one gradient step on a batch `(B, T, ...)`. With `--fast` this waits for nothing that a GPU computes."""
        assert not isinstance(self.algorithm, Random)
        noise = self.draw_noise(*batch["reward"].shape)
        with autocast(self.device, self.dtype):
            return self.algorithm.update(batch, noise, phase)

    def draw_noise(self, rows: int, length: int) -> Noise:
        """Draw the noise of one update on `rows` sequences of `length` steps."""
        assert not isinstance(self.algorithm, Random)
        return self.algorithm.draw_noise(rows, length, self.generator)

    def open_loop(self, batch: Batch, context: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Predict a batch `(B, T, ...)` from its first `context` steps and its actions; see `WorldModel.open_loop`.

        Raises `UserError` if there is no decoder.
        """
        if isinstance(self.algorithm, Random | ModelFree) or not self.has_decoder:
            raise UserError("This agent has no decoder to show what it predicts: train another --agent.")
        shape = (*batch["reward"].shape, self.algorithm.world_model.rssm.stoch)
        noise = torch.randn(shape, generator=generator, device=self.device)
        return self.algorithm.world_model.open_loop(batch, context, noise)

    # -- acting ------------------------------------------------------------------------------------------

    def initial_state(self, n: int) -> PolicyState:
        """Return the state with which the episodes of `n` environments begin: zeros."""
        if isinstance(self.algorithm, ModelFree):
            return self.algorithm.initial_state(n)
        action = torch.zeros(n, self.spec.action.size, device=self.device)
        if isinstance(self.algorithm, Random):
            return PolicyState(State(*action.new_zeros(4, n, 0)), action)
        return PolicyState(self.algorithm.world_model.rssm.initial(n), action)

    def policy(
        self, obs: Observation, state: PolicyState, explore: bool, generator: torch.Generator
    ) -> tuple[np.ndarray, PolicyState]:
        """Return actions `(N, A)` for observations `(N, ...)`, and the next state."""
        tensors = {key: torch.as_tensor(x, device=self.device) for key, x in obs.items()}
        # PlaNet's search of thousands of plans has the precision of updates; everything else acts in float32.
        dtype = self.dtype if isinstance(self.algorithm, PlaNet) else torch.float32
        with autocast(self.device, dtype):
            state = self.algorithm.act(tensors, state, explore, generator)
        return state.action.cpu().numpy(), state

    def acting_state(self) -> dict[str, Any]:
        """Return all that `policy` depends on, without copying it."""
        grad_step = 0 if isinstance(self.algorithm, Random) else self.algorithm.optimizers.grad_step
        return {"networks": self.algorithm.state_dict(), "grad_step": grad_step}

    def load_acting_state(self, state: dict[str, Any]) -> None:
        """Copy another agent's `acting_state`, for acting only: this agent can no longer be trained."""
        self.algorithm.load_state_dict(state["networks"])
        # Autocast caches the casts of weights that require gradients, and would act with old ones.
        self.algorithm.requires_grad_(False)
        if not isinstance(self.algorithm, Random):
            self.algorithm.optimizers.grad_step = state["grad_step"]

    # -- saving ------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Return everything needed to go on exactly: weights, optimizers, random state."""
        if isinstance(self.algorithm, Random):
            return {}
        return {
            "networks": self.algorithm.state_dict(),
            "optimizers": self.algorithm.optimizers.state_dict(),
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if isinstance(self.algorithm, Random):
            return
        self.algorithm.load_state_dict(state["networks"])
        self.algorithm.optimizers.load_state_dict(state["optimizers"])
        self.generator.set_state(state["generator"].cpu())
