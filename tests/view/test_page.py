"""What a page is made of, and the sentences where it cannot be made."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dreamer.errors import UserError
from dreamer.replay.store import EpisodeStore
from dreamer.storage.load import load_run
from dreamer.view import runtime
from dreamer.view.graphs import world_of
from dreamer.view.page import Dream, render, write_view
from dreamer.view.recording import COLUMNS, record
from dreamer.view.runtime import Runtime, read_runtime
from helpers import BOTH, IMAGE, STATE, small_agent

NO_RUNTIME = Runtime(b"", b"")


@pytest.fixture(autouse=True)
def _no_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreamer.view.page.read_runtime", lambda: NO_RUNTIME)


def test_page_loads_nothing_from_elsewhere(dream: Dream) -> None:
    page = render([dream], NO_RUNTIME)
    assert not re.findall(r"""(?:src|href)=|url\(|import\s*["']""", page)


def test_equal_inputs_give_equal_pages(dream: Dream) -> None:
    assert render([dream], NO_RUNTIME) == render([dream], NO_RUNTIME)


def test_names_cannot_end_the_script(dream: Dream) -> None:
    evil = replace(dream, facts=dream.facts | {"name": "</script><b>", "task": "<i>"})
    page = render([evil, evil], NO_RUNTIME)
    assert "</script><b>" not in page
    assert "<i>" not in page


def test_recording_holds_the_newest_episode_and_its_latent_states(run: Path) -> None:
    trained = load_run(run, device="cpu", fast=False)
    store = EpisodeStore(trained.directory.replay, mode="r")
    recording, episode = record(trained.agent, store), store.episode(store.ids[-1])
    assert np.array_equal(recording.images, episode["image"])
    numbers = np.frombuffer(recording.numbers(), "<f4").reshape(len(recording.images), -1)
    assert np.array_equal(numbers[:, :2], episode["action"])
    assert np.array_equal(numbers[:, 2], episode["reward"])
    assert np.array_equal(numbers[:, 3:], np.concatenate([recording.stoch, recording.deter], 1))
    assert len(np.unique(recording.deter, axis=0)) == len(recording.images)


def test_sheet_shows_every_image_in_its_place(run: Path) -> None:
    import io

    from PIL import Image

    trained = load_run(run, device="cpu", fast=False)
    recording = record(trained.agent, EpisodeStore(trained.directory.replay, mode="r"))
    sheet = np.asarray(Image.open(io.BytesIO(recording.sheet())).convert("RGB"))
    for t, image in enumerate(recording.images):
        y, x = 64 * (t // COLUMNS), 64 * (t % COLUMNS)
        assert np.array_equal(sheet[y : y + 64, x : x + 64], image)


@pytest.mark.parametrize(
    ("agent", "message"),
    [
        (small_agent(STATE), "sees no images"),
        (small_agent(IMAGE, objective="reward-only", video_every=0), "has no decoder"),
        (small_agent(IMAGE, agent="random"), "no world model"),
    ],
    ids=["states", "no decoder", "random"],
)
def test_agents_that_imagine_no_images_are_refused(agent, message: str) -> None:
    with pytest.raises(UserError, match=message):
        world_of(agent)


def test_images_and_vectors_together_are_fine() -> None:
    assert world_of(small_agent(BOTH)).world_model.decoder.keys == ["image", "state"]


def test_run_without_a_checkpoint_is_refused(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoint")
    with pytest.raises(UserError, match="no checkpoint"):
        write_view([tmp_path / "run"], tmp_path / "dream.html")
    assert not (tmp_path / "dream.html").exists()


def test_run_without_episodes_is_refused(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "run")
    for episode in (tmp_path / "run" / "replay").iterdir():
        episode.unlink()
    with pytest.raises(UserError, match="No episode"):
        write_view([tmp_path / "run"], tmp_path / "dream.html")


def test_place_that_does_not_exist_is_refused_first(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        write_view([tmp_path], tmp_path / "nowhere" / "dream.html")


def test_runtime_that_was_never_fetched_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(UserError, match=r"make view.*python -m dreamer\.view\.runtime"):
        read_runtime()


def test_damaged_runtime_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    runtime.cache().mkdir(parents=True)
    (runtime.cache() / "package.tgz").write_bytes(b"something else")
    with pytest.raises(UserError, match="checksum differs"):
        read_runtime()


def test_npm_that_brings_something_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text("#!/bin/sh\necho other > onnxruntime-web.tgz\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(UserError, match="checksum differs"):
        runtime.fetch()
    assert not list((tmp_path / "cache").rglob("*.tgz"))


def test_npm_without_a_network_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text("#!/bin/sh\necho 'npm error network is down' >&2\nexit 1\n")
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{npm.parent}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"network is down.*network\?"):
        runtime.fetch()
