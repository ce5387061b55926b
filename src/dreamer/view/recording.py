"""A recorded episode, with the latent state of each step: where dreams begin, and what they are compared to."""

import io
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from dreamer.agents.agent import Agent
from dreamer.errors import UserError
from dreamer.logs.video import three_channels
from dreamer.replay.feed import to_device
from dreamer.replay.store import EpisodeStore
from dreamer.view.graphs import image_of, world_of

MOST = 501
"""Longest recording: more steps would make the page larger than it has to be."""
COLUMNS = 25
"""Images in a row of the sheet."""


@dataclass(frozen=True)
class Recording:
    """T steps of an episode: `images` `(T, H, W, 3)`, uint8, and float32 arrays `(T, .)`.

    `action[t]` led to step t, and `reward[t]` came with it, as the reward head learns it. `stoch` and `deter` are the
    posterior state.
    """

    images: np.ndarray
    action: np.ndarray
    reward: np.ndarray
    stoch: np.ndarray
    deter: np.ndarray

    def numbers(self) -> bytes:
        """Return action, reward, stoch and deter of each step, as little-endian float32."""
        parts = [self.action, self.reward[:, None], self.stoch, self.deter]
        return np.concatenate(parts, 1).astype("<f4").tobytes()

    def sheet(self) -> bytes:
        """Return all images beside and below each other as one WebP file, without loss."""
        count, height, width, _ = self.images.shape
        rows = -(-count // COLUMNS)
        sheet = np.zeros((rows * COLUMNS, height, width, 3), np.uint8)
        sheet[:count] = self.images
        sheet = sheet.reshape(rows, COLUMNS, height, width, 3).swapaxes(1, 2)
        file = io.BytesIO()
        image = Image.fromarray(sheet.reshape(rows * height, COLUMNS * width, 3))
        image.save(file, "WEBP", lossless=True, quality=100, method=4)
        return file.getvalue()


@torch.no_grad()
def record(agent: Agent, store: EpisodeStore, seed: int = 0) -> Recording:
    """Return the newest episode in which something happens, filtered by the agent's world model.

    Raises `UserError` if there is none.
    """
    long_enough = store.ids[store.lengths >= 2]
    if not len(long_enough):
        raise UserError(f"No episode in {store.directory} to begin a dream from: let `dreamer train` run on.")
    # Copies, because what a memory map shows cannot be written to.
    episode = {key: np.array(array[None, :MOST]) for key, array in store.episode(long_enough[-1]).items()}
    length = episode["reward"].shape[1]
    is_first = np.arange(length)[None] == 0
    batch = to_device(episode | {"is_first": is_first}, agent.device)
    world_model = world_of(agent).world_model
    generator = torch.Generator(agent.device).manual_seed(seed)
    noise = torch.randn(1, length, world_model.rssm.stoch, generator=generator, device=agent.device)
    embed = world_model.encoder(batch)
    posterior, _ = world_model.rssm.observe(embed, batch["action"], batch["is_first"], noise)
    return Recording(
        three_channels(episode[image_of(agent)][0]),
        episode["action"][0],
        world_model.reward_target(batch["reward"])[0].cpu().numpy(),
        posterior.stoch[0].cpu().numpy(),
        posterior.deter[0].cpu().numpy(),
    )
