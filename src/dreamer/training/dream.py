"""Open-loop prediction from past episodes: what the model sees with its eyes shut (paper, Figure 5)."""

from dataclasses import dataclass

import numpy as np
import torch

from dreamer.agents.agent import Agent
from dreamer.errors import UserError
from dreamer.replay.episode_file import Episode
from dreamer.replay.feed import to_device
from dreamer.replay.store import EpisodeStore
from dreamer.training.video import three_channels

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
    """Predict `sequences` windows of past episodes, of `length` or of what the longest episode has.

    Raises `UserError` if there is an `obstacle`.
    """
    if problem := obstacle(agent, store, context):
        raise UserError(problem)
    length = min(length, int(store.lengths.max()))
    batch = to_device(_windows(store, np.random.default_rng(seed), sequences, length), agent.device)
    generator = torch.Generator(agent.device).manual_seed(seed)
    key = next(iter(agent.spec.images))
    predicted = agent.open_loop(batch, context, generator)[key]
    truth = batch[key].float() / 255
    return Dream(three_channels(truth.cpu().numpy()), three_channels(predicted.cpu().numpy()), context)


def obstacle(agent: Agent, store: EpisodeStore, context: int = CONTEXT) -> str | None:
    """Say why there is nothing to predict, and what to do; None if nothing is in the way."""
    if not agent.spec.images:
        return "This agent sees no images, so there is nothing to draw: train with --obs image."
    if not agent.predicts:
        return "This agent has no decoder to draw its dreams with, so there is nothing to see."
    if store.lengths.max(initial=0) <= context:
        return (
            f"No episode in {store.directory} has more than {context} pictures, which the model is to see"
            " first: take a smaller --context, or let it train on."
        )
    return None


def _windows(store: EpisodeStore, rng: np.random.Generator, sequences: int, length: int) -> Episode:
    """Draw windows `(N, length, ...)`, each within one episode, uniformly from the episodes long enough.

    A batch for learning goes on with another episode where one ends. A dream that went on there would be
    judged by what it cannot know.
    """
    long_enough = store.lengths >= length
    ids, lengths = store.ids[long_enough], store.lengths[long_enough]
    drawn = rng.integers(len(ids), size=sequences)
    starts = rng.integers(lengths[drawn] - length, endpoint=True)
    episodes = [store.episode(number) for number in ids[drawn]]
    return {
        key: np.stack([e[key][start : start + length] for e, start in zip(episodes, starts, strict=True)])
        for key in episodes[0]
    }
