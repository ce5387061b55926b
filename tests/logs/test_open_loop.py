"""Open-loop prediction of past episodes: each window lies within one of them."""

from pathlib import Path

import numpy as np
import pytest

from dreamer.agents.make import make_agent
from dreamer.logs.open_loop import CannotPredictError, Prediction, _windows, predict
from dreamer.replay.sampler import SequenceSampler
from dreamer.replay.store import EpisodeStore
from dreamer.types import ActionSpec, EnvSpec
from training.runs import config

SPEC = EnvSpec({"image": (32, 32, 3)}, {}, ActionSpec(1))


def _store(directory: Path, *lengths: int) -> EpisodeStore:
    """Episode number i, of so many elements, shows i in red and the element in green."""
    store = EpisodeStore(directory)
    for number, length in enumerate(lengths):
        image = np.zeros((length, 32, 32, 3), np.uint8)
        image[..., 0], image[..., 1] = number, np.arange(length)[:, None, None]
        reward = np.zeros(length, np.float32)
        action = np.zeros((length, 1), np.float32)
        store.append({"image": image, "action": action, "reward": reward, "discount": reward + 1})
    return store


def _predict(store: EpisodeStore, **settings: int) -> Prediction:
    return predict(make_agent(SPEC, config()), store, seed=0, **settings)


def _check_whole(truth: np.ndarray) -> None:
    """Every window shows one episode, element after element."""
    shown = np.round(truth[:, :, 0, 0] * 255).astype(int)
    assert (shown[..., 0] == shown[:, :1, 0]).all()
    assert (np.diff(shown[..., 1], axis=1) == 1).all()


def test_windows_stay_within_one_episode(tmp_path: Path) -> None:
    store = _store(tmp_path, 7, 30, 12, 25, 3)
    result = _predict(store, sequences=20, length=20)
    assert result.truth.shape == result.model.shape == (20, 20, 32, 32, 3)
    _check_whole(result.truth)
    assert set(np.round(result.truth[:, 0, 0, 0, 0] * 255).astype(int)) == {1, 3}


def test_window_is_no_longer_than_the_longest_episode(tmp_path: Path) -> None:
    result = _predict(_store(tmp_path, 7, 12, 9), sequences=4, length=50)
    assert result.truth.shape[1] == 12
    _check_whole(result.truth)


def test_windows_reach_the_first_and_the_last_element(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    windows = _windows(_store(tmp_path, 8), rng, sequences=100, length=6)
    assert windows is not None
    assert set(windows["image"][:, 0, 0, 0, 1]) == {0, 1, 2}


def test_windows_of_long_episodes_are_those_of_the_sampler(tmp_path: Path) -> None:
    store = _store(tmp_path, 20, 30, 25)
    batch = SequenceSampler(store, 6, 15).sample(np.random.default_rng(3))
    windows = _windows(store, np.random.default_rng(3), 6, 15)
    assert windows is not None
    assert all(np.array_equal(windows[key], batch[key]) for key in batch)


@pytest.mark.parametrize("lengths", [(), (3, 5)], ids=str)
def test_episodes_that_are_too_short_are_refused(lengths: tuple[int, ...], tmp_path: Path) -> None:
    with pytest.raises(
        CannotPredictError, match=r"No episode in .* has more than the 5 images.*smaller --context"
    ):
        _predict(_store(tmp_path, *lengths))
    if lengths:
        assert _predict(_store(tmp_path / "again", *lengths), context=4).truth.shape[1] == 5
