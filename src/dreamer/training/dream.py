"""Open-loop prediction from past episodes: what the model sees with its eyes shut (paper, Figure 5)."""

from dataclasses import dataclass

import numpy as np
import torch

from dreamer.agents.agent import Agent
from dreamer.errors import UserError
from dreamer.replay.feed import to_device
from dreamer.replay.sampler import SequenceSampler
from dreamer.replay.store import EpisodeStore

CONTEXT = 5
"""Steps that the model may look at before it goes on alone (TF2 dreamer.py:300-311)."""


@dataclass(frozen=True)
class Dream:
    """`truth` and `model`, `(N, T, H, W, C)` in [0, 1]; the first `context` of the T steps were seen."""

    truth: np.ndarray
    model: np.ndarray
    context: int


def dream(
    agent: Agent, store: EpisodeStore, seed: int, sequences: int = 6, length: int = 50, context: int = CONTEXT
) -> Dream:
    """Predict `sequences` windows of past episodes. Raises `UserError` if the agent cannot draw them."""
    images = agent.spec.images
    if not images:
        raise UserError("This agent sees no images, so there is nothing to draw: train with --obs image.")
    if not agent.predicts:
        raise UserError("This agent has no decoder to draw its dreams with, so there is nothing to see.")
    length = max(context + 1, min(length, int(store.lengths.max(initial=0))))
    sampler = SequenceSampler(store, sequences, length)
    batch = to_device(sampler.sample(np.random.default_rng(seed)), agent.device)
    generator = torch.Generator(agent.device).manual_seed(seed)
    key = next(iter(images))
    predicted = agent.open_loop(batch, context, generator)[key]
    truth = batch[key].float() / 255
    return Dream(_three_channels(truth), _three_channels(predicted), context)


def _three_channels(pictures: torch.Tensor) -> np.ndarray:
    """Grey pictures get three equal channels; of more than three the last three are shown."""
    pictures = pictures.expand(*pictures.shape[:-1], 3) if pictures.shape[-1] == 1 else pictures[..., -3:]
    return pictures.cpu().numpy()
