"""A world model small enough to look at, and batches for it."""

from typing import Any

import torch
from torch import Tensor

from dreamer.config import Config, ModelConfig, with_options
from dreamer.envs.spec import ActionSpec, EnvSpec
from dreamer.world_model.world_model import WorldModel

SIZES: dict[str, Any] = {"stoch": 3, "deter": 5, "hidden": 6, "cnn_depth": 2, "units": 8}
SPEC = EnvSpec(images={"image": (32, 32, 3)}, vectors={}, action=ActionSpec(2))
STATE_SPEC = EnvSpec(images={}, vectors={"state": 4}, action=ActionSpec(2))


def model_config(**options: Any) -> ModelConfig:
    return with_options(Config(), SIZES | options).model


def world_model(spec: EnvSpec = SPEC, **options: Any) -> WorldModel:
    return WorldModel(spec, model_config(**options))


def batch(spec: EnvSpec = SPEC, size: int = 3, length: int = 7, seed: int = 0) -> dict[str, Tensor]:
    """Random sequences `(size, length, ...)`, each an episode from its beginning on."""
    rng = torch.Generator().manual_seed(seed)
    lead = (size, length)
    images = {k: torch.randint(256, (*lead, *s), generator=rng).byte() for k, s in spec.images.items()}
    vectors = {k: torch.randn((*lead, n), generator=rng) for k, n in spec.vectors.items()}
    is_first = torch.zeros(lead, dtype=torch.bool)
    is_first[:, 0] = True
    return {
        **images,
        **vectors,
        "action": torch.rand((*lead, spec.action.size), generator=rng) * 2 - 1,
        "reward": torch.randn(lead, generator=rng),
        "discount": torch.ones(lead),
        "is_first": is_first,
    }
