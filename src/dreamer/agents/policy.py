"""A trained policy by itself: what `dreamer export` writes and `dreamer.load_policy` reads.

Only what acting needs: the encoder, the filter, and the actor or the planner with the heads that it asks.
Nothing here imports a simulator, Gymnasium or the command line.
"""

import dataclasses
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from dreamer.agents.policy_state import PolicyState
from dreamer.agents.precision import autocast, pick_device, pick_dtype
from dreamer.behavior.actor import ACTOR_LAYERS, MODE_SAMPLES, Actor
from dreamer.behavior.cem import Planner
from dreamer.errors import UserError
from dreamer.types import ActionSpec, EnvSpec
from dreamer.world_model.dense import PCONT_LAYERS, REWARD_LAYERS, ScalarHead
from dreamer.world_model.encoder import Encoder
from dreamer.world_model.rssm import MIN_STD, RSSM
from dreamer.world_model.state import State

FORMAT = "dreamer-policy-2"


@dataclasses.dataclass(frozen=True)
class PolicySizes:
    """The numbers by which the networks are built; fields as in the configuration."""

    agent: str
    stoch: int
    deter: int
    hidden: int
    cnn_depth: int
    units: int
    plan_horizon: int
    plan_iterations: int
    plan_candidates: int
    plan_elites: int
    precision: str
    pcont: bool

    @property
    def plans(self) -> bool:
        return self.agent == "planet"


class Policy(nn.Module):
    """Acts as the trained agent does in evaluation, for one environment or a batch of them.

    Example:
        >>> policy = dreamer.load_policy("walker.pt")  # doctest: +SKIP
        >>> policy.reset()  # doctest: +SKIP
        >>> action = policy.act({"image": image})  # doctest: +SKIP
    """

    def __init__(self, spec: EnvSpec, sizes: PolicySizes, seed: int = 0, device: str = "cpu"):
        super().__init__()
        self.spec, self.sizes = spec, sizes
        self.device = pick_device(device)
        self.encoder = Encoder(spec, sizes.cnn_depth, sizes.units)
        action, features = spec.action.size, sizes.stoch + sizes.deter
        self.rssm = RSSM(action, self.encoder.size, sizes.stoch, sizes.deter, sizes.hidden, MIN_STD)
        if sizes.plans:
            self.reward = ScalarHead(features, REWARD_LAYERS, sizes.units)
            self.pcont = ScalarHead(features, PCONT_LAYERS, sizes.units) if sizes.pcont else None
            numbers = (sizes.plan_horizon, sizes.plan_iterations, sizes.plan_candidates, sizes.plan_elites)
            self.planner = Planner(action, *numbers)
        else:
            self.actor = Actor(features, spec.action, ACTOR_LAYERS, sizes.units)
        self.to(self.device)
        self._generator = torch.Generator(self.device).manual_seed(seed)
        self._state: PolicyState | None = None

    def reset(self, index: int | None = None) -> None:
        """Begin new episodes in all environments, or only in environment `index` of the batch."""
        self._state = None if index is None or self._state is None else self._state.reset(index)

    @torch.no_grad()
    def act(self, observation: Mapping[str, np.ndarray] | np.ndarray) -> np.ndarray:
        """The action `(A,)` for one observation, or `(N, A)` for N of them stacked along a first axis.

        `observation` has uint8 images `(H, W, C)` and float vectors `(n,)` by name; the array alone will do
        where there is only one. Actions are in [-1, 1], or one-hot.

        Raises:
            UserError: an observation is missing or of another shape, or there are more or fewer than before.
        """
        tensors, n, single = self._tensors(observation)
        state = self._state if self._state is not None else self._initial(n)
        if len(state.action) != n:
            raise UserError(f"{n} observations after {len(state.action)}: call reset() before a new batch.")
        noise = torch.randn(state.latent.stoch.shape, generator=self._generator, device=self.device)
        latent = self.rssm.observe_step(state.latent, state.action, self.encoder(tensors), noise)
        action = self._choose(latent)
        self._state = PolicyState(latent, action)
        numbers = action.cpu().numpy()
        return numbers[0] if single else numbers

    def _choose(self, latent: State) -> Tensor:
        if not self.sizes.plans:
            return self.actor.act(latent.feat, MODE_SAMPLES, self._generator)
        noise = self.planner.draw_noise(latent, self._generator)
        with autocast(self.device, pick_dtype(self.sizes.precision, self.device)):
            return self.planner.plan(self.rssm, self.reward, latent, noise, self.pcont)

    def _initial(self, n: int) -> PolicyState:
        return PolicyState(self.rssm.initial(n), torch.zeros(n, self.spec.action.size, device=self.device))

    def _tensors(
        self, observation: Mapping[str, np.ndarray] | np.ndarray
    ) -> tuple[dict[str, Tensor], int, bool]:
        """The observation as a batch, its size, and whether it was a single one."""
        shapes = {**self.spec.images, **{key: (size,) for key, size in self.spec.vectors.items()}}
        if not isinstance(observation, Mapping):
            if len(shapes) != 1:
                raise UserError(f"This policy sees several things: give a dictionary of {', '.join(shapes)}.")
            observation = {next(iter(shapes)): observation}
        tensors, leading = {}, set()
        for key, shape in shapes.items():
            array = np.asarray(observation[key]) if key in observation else None
            if array is None or array.shape[-len(shape) :] != shape or array.ndim > len(shape) + 1:
                given = "missing" if array is None else f"of shape {array.shape}"
                raise UserError(
                    f"The observation {key!r} is {given}: it must be {shape}, or several of those."
                )
            if key in self.spec.images and array.dtype != np.uint8:
                raise UserError(
                    f"The image {key!r} is of type {array.dtype}: it must be uint8, from 0 to 255."
                )
            leading.add(array.shape[: -len(shape)])
            # A copy: an image may be a view turned upside down, or of memory that the simulator draws in.
            rows = np.array(array.reshape(-1, *shape), order="C")
            tensors[key] = torch.as_tensor(rows, device=self.device)
        if len(leading) != 1:
            raise UserError("The parts of the observation are not equally many.")
        (lead,) = leading
        return tensors, lead[0] if lead else 1, not lead


def pack(policy: Policy) -> dict[str, Any]:
    """All of a policy in plain values and tensors, as the file holds it."""
    return {
        "format": FORMAT,
        "spec": dataclasses.asdict(policy.spec),
        "sizes": dataclasses.asdict(policy.sizes),
        "weights": {name: weight.cpu() for name, weight in policy.state_dict().items()},
    }


def load_policy(file: str | Path, seed: int = 0, device: str = "cpu") -> Policy:
    """Read what `dreamer export` has written; `seed` is that of the filter's samples and of the search.

    Raises `UserError` if `file` is not such a file.
    """
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(f"{file} cannot be read as a policy: write one with `dreamer export`.") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{file} is no policy of this version: write one with `dreamer export`.")
    spec = content["spec"]
    action = ActionSpec(spec["action"]["size"], tuple(spec["action"]["groups"]))
    images = {key: tuple(shape) for key, shape in spec["images"].items()}
    policy = Policy(EnvSpec(images, spec["vectors"], action), PolicySizes(**content["sizes"]), seed, device)
    policy.load_state_dict(content["weights"])
    return policy
