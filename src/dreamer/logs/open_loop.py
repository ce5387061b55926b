"""Open-loop prediction of past episodes (paper, Figure 5).

The world model sees the first images of a sequence and predicts the others from the recorded actions alone.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dreamer.agents.agent import Agent
from dreamer.errors import UserError
from dreamer.logs import video
from dreamer.logs.video import three_channels
from dreamer.replay.episode_file import DamagedEpisodeError, Episode
from dreamer.replay.feed import to_device
from dreamer.replay.store import EpisodeStore
from dreamer.storage.atomic_file import atomic_file

CONTEXT = 5
"""Images that the model sees before it predicts (TF2 dreamer.py:300-311)."""


class CannotPredictError(UserError):
    """This agent cannot predict images, or no episode is long enough."""


@dataclass(frozen=True)
class Prediction:
    """`truth` and `model`, `(N, T, H, W, 3)` in [0, 1]; the model saw the first `context` of the T images."""

    truth: np.ndarray
    model: np.ndarray
    context: int

    @property
    def errors(self) -> dict[str, list[float]]:
        """The error by the number of steps since the last image seen; see `error_by_horizon`."""
        return video.error_by_horizon(self.truth, self.model, self.context)


def predict(
    agent: Agent, store: EpisodeStore, seed: int, sequences: int = 6, length: int = 50, context: int = CONTEXT
) -> Prediction:
    """Predict `sequences` windows of past episodes, `length` steps long, or as long as the longest episode.

    Raises `CannotPredictError` if the agent has no images or no decoder, or if all episodes are too short.
    """
    check_agent(agent)
    windows = None
    while windows is None:
        _check(store, context)
        length = min(length, int(store.lengths.max()))
        windows = _windows(store, np.random.default_rng(seed), sequences, length)
    batch = to_device(windows, agent.device)
    generator = torch.Generator(agent.device).manual_seed(seed)
    key = next(iter(agent.spec.images))
    predicted = agent.open_loop(batch, context, generator)[key]
    truth = batch[key].float() / 255
    return Prediction(three_channels(truth.cpu().numpy()), three_channels(predicted.cpu().numpy()), context)


def write(prediction: Prediction, env_step: int, path: Path) -> dict[str, Any]:
    """Write a prediction as a video to `path`; beside it its first sequence as .png, and its errors as .json.

    Return the errors, with the `env_step` of the weights. Raises `UserError` if a file cannot be written.
    """
    truth, model, context = prediction.truth, prediction.model, prediction.context
    video.write_video(path, video.annotated(truth, model, context))
    every = max(1, truth.shape[1] // 10)
    video.write_image(path.with_suffix(".png"), video.filmstrip(truth[0], model[0], every, context))
    errors = {"env_step": env_step, **prediction.errors}
    with atomic_file(path.with_suffix(".json")) as file:
        file.write((json.dumps(errors) + "\n").encode())
    return errors


def check_agent(agent: Agent) -> None:
    """Raise `CannotPredictError` unless the agent can draw what it predicts."""
    if not hasattr(agent.algorithm, "world_model"):
        raise CannotPredictError(
            "This agent has no world model, so it predicts nothing: take a run of --agent dreamer."
        )
    if not agent.spec.images:
        raise CannotPredictError(
            "This agent sees no images, so there is nothing to draw: train with --obs image."
        )
    if not agent.has_decoder:
        raise CannotPredictError(
            "This agent has no decoder, so it cannot draw what it predicts: train another --agent, or with"
            " --video-every above 0."
        )


def _check(store: EpisodeStore, context: int) -> None:
    if store.lengths.max(initial=0) <= context:
        raise CannotPredictError(
            f"No episode in {store.directory} has more than the {context} images that the model sees first:"
            " take a smaller --context, or let it train on."
        )


def _windows(store: EpisodeStore, rng: np.random.Generator, sequences: int, length: int) -> Episode | None:
    """Draw windows `(N, length, ...)`, each within one episode, uniformly from the episodes long enough.

    A batch for learning goes on with another episode where one ends; what comes then cannot be predicted. Return None
    if an episode is unsound: the store has left it out.
    """
    long_enough = store.lengths >= length
    ids, lengths = store.ids[long_enough], store.lengths[long_enough]
    drawn = rng.integers(len(ids), size=sequences)
    starts = rng.integers(lengths[drawn] - length, endpoint=True)
    windows = store.allocate((sequences, length))
    try:
        for row, (number, start) in enumerate(zip(ids[drawn].tolist(), starts.tolist(), strict=True)):
            store.read(number, start, windows, row)
    except DamagedEpisodeError:
        return None
    is_first = np.zeros((sequences, length), np.bool_)
    is_first[:, 0] = starts == 0
    return windows | {"is_first": is_first}
