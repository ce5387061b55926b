"""Random data of the right shapes, with which agents are measured and tested."""

import torch

from dreamer.agents.agent import Agent
from dreamer.behavior.exploration import random_action
from dreamer.config import ReplayConfig
from dreamer.types import Batch, EnvSpec


def batch_for(agent: Agent, config: ReplayConfig) -> Batch:
    """Return random rows of the kind that `agent` learns from: sequences, or transitions with their weights."""
    rows, kind = config.batch_size, agent.transitions
    length = config.batch_length if kind is None else kind.before + 1 + kind.after
    batch = random_batch(agent.spec, rows, length, device=agent.device)
    return batch if kind is None else batch | {"weight": torch.ones(rows, device=agent.device)}


def random_batch(
    spec: EnvSpec, rows: int, length: int, seed: int = 0, device: torch.device | str = "cpu"
) -> Batch:
    """Return random sequences `(rows, length, ...)`, each an episode from its beginning on."""
    generator, shape = torch.Generator().manual_seed(seed), (rows, length)
    images = {k: torch.randint(256, (*shape, *s), generator=generator).byte() for k, s in spec.images.items()}
    vectors = {k: torch.randn((*shape, n), generator=generator) for k, n in spec.vectors.items()}
    is_first = torch.zeros(shape, dtype=torch.bool)
    is_first[:, 0] = True
    batch = {
        **images,
        **vectors,
        "action": random_action(spec.action, rows * length, generator).view(*shape, -1),
        "reward": torch.randn(shape, generator=generator),
        "discount": torch.ones(shape),
        "is_first": is_first,
    }
    return {key: tensor.to(device) for key, tensor in batch.items()}
