"""What shows a run besides `metrics.jsonl`: TensorBoard and Weights & Biases. Neither is worth a run."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import imageio.v3 as imageio
import numpy as np

FPS = 20.0
_logger = logging.getLogger(__name__)


class Board(ABC):
    """Shows scalars and videos over `env_step`; if that fails once, there is one warning, and nothing more is tried."""

    name: ClassVar[str]
    _failed = False

    @abstractmethod
    def scalars(self, env_step: int, scalars: Mapping[str, float]) -> None:
        """Show scalars at x = `env_step`."""

    @abstractmethod
    def video(self, env_step: int, name: str, images: np.ndarray) -> None:
        """Show images `(T, H, W, 3)`, uint8, as a video."""

    @abstractmethod
    def close(self) -> None:
        """Show what is left."""

    def attempt(self, act: Callable[[], Any]) -> None:
        """Call `act`, unless something has failed before."""
        if self._failed:
            return
        try:
            act()
        except Exception as error:
            self._failed = True
            _logger.warning("%s gets nothing more of this run: %s", self.name, " ".join(str(error).split()))


def gif(images: np.ndarray) -> bytes:
    """Return images `(T, H, W, 3)`, uint8, as an animated GIF."""
    return imageio.imwrite("<bytes>", images, extension=".gif", duration=1000 / FPS, loop=0)
