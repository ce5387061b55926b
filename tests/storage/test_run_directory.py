"""Run directories: whose they are, and that a refusal leaves them as they were."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from dreamer.config import Config
from dreamer.errors import UserError
from dreamer.storage.load import load_run
from dreamer.storage.run_directory import RunDirectory
from dreamer.training.trainer import Trainer
from training.runs import config, tree


def _made(path: Path, settings: Config) -> RunDirectory:
    directory = RunDirectory(path)
    directory.lock()
    directory.write_config(settings)
    directory.unlock()
    return directory


def _refused(path: Path, message: str, settings: Config | None = None) -> None:
    """Building a run there fails with this sentence, and everything around it stays as it is."""
    before = tree(path.parent)
    with pytest.raises(UserError, match=message):
        Trainer(settings or config(), path)
    assert tree(path.parent) == before


def test_config_round_trip(tmp_path: Path) -> None:
    directory = _made(tmp_path / "runs" / "run", config(horizon=7, lambda_=0.5, seed=3))
    assert directory.config() == config(horizon=7, lambda_=0.5, seed=3)
    assert directory.config(device="cuda").training.device == "cuda"


def test_another_configuration_is_refused(tmp_path: Path) -> None:
    _made(tmp_path / "run", config(horizon=7))
    message = "other options .horizon was 7, now 5.: choose another --logdir"
    _refused(tmp_path / "run", message, config(horizon=5))


@pytest.mark.parametrize("name", ["steps", "eval_every", "checkpoint_every", "video_every", "threads"])
def test_options_that_may_change_are_taken(tmp_path: Path, name: str, caplog) -> None:
    _made(tmp_path, config()).check(config(**{name: 7}))
    assert not caplog.text


def test_videos_that_need_another_network_may_not_be_switched_on(tmp_path: Path) -> None:
    directory = _made(tmp_path, config(objective="reward-only", video_every=0))
    with pytest.raises(UserError, match="video_every was 0, now 7"):
        directory.check(config(objective="reward-only", video_every=7))
    directory.check(config(objective="reward-only", video_every=0))


def test_a_run_of_an_earlier_version_is_refused_by_its_options(tmp_path: Path) -> None:
    directory = _made(tmp_path, config())
    options = json.loads(directory.config_file.read_text())
    directory.config_file.write_text(json.dumps(options | {"capacity": 0, "edges": "rare"}))
    message = (
        r"earlier version, .* .capacity is now replay_size, edges is now prioritize_ends.: use that version"
    )
    with pytest.raises(UserError, match=message):
        directory.check(config())
    with pytest.raises(UserError, match=message):
        load_run(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("precision", "bfloat16"),
        ("model_lr", 1e-9),
        ("actor_lr", 1e-9),
        ("value_lr", 1e-9),
        ("grad_clip", 1e-9),
    ],
)
def test_precision_and_rates_may_change_with_a_warning(
    tmp_path: Path, name: str, value: object, caplog
) -> None:
    _made(tmp_path, config()).check(config(**{name: value}))
    assert f"goes on with other options: {name} was" in caplog.text
    assert caplog.text.rstrip().endswith(f"now {value!r}.")


def test_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.tex").write_text("years of work")
    _refused(tmp_path / "home", "exists and is not a run directory: choose another --logdir")


def test_logdir_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    _refused(tmp_path / "file", "exists and is not a run directory")
    _refused(tmp_path / "file" / "run", "Cannot write in .* choose a --logdir you can write to")


def test_an_empty_directory_and_one_that_was_only_locked_are_taken(tmp_path: Path) -> None:
    RunDirectory(tmp_path).check(config())
    (tmp_path / ".lock").touch()
    RunDirectory(tmp_path).check(config())


def test_a_kill_while_the_options_are_written_leaves_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / "config.json.tmp").write_text('{"env": ')
    Trainer(config(), tmp_path).close()
    assert RunDirectory(tmp_path).config() == config()
    assert not list(tmp_path.glob("*.tmp"))


def test_damaged_config_is_named(tmp_path: Path) -> None:
    directory = _made(tmp_path / "run", config())
    directory.config_file.write_text(directory.config_file.read_text()[:100])
    _refused(tmp_path / "run", r"config.json cannot be read")


def test_only_one_process_trains_in_a_directory(tmp_path: Path) -> None:
    directory = _made(tmp_path / "run", config())
    directory.lock()
    _refused(tmp_path / "run", "Another process is training in", config(steps=7000))
    directory.unlock()
    Trainer(config(), tmp_path / "run").close()


def test_a_link_as_lock_is_refused_and_its_target_stays(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("mine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").symlink_to(tmp_path / "other")
    _refused(tmp_path / "run", "Cannot write in .*run")
    assert (tmp_path / "other").read_text() == "mine"


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_no_other_process(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    Trainer(config(), tmp_path / "run").close()
    assert f"has no locks ({os.strerror(number)}): make sure yourself" in caplog.text


def test_a_run_that_has_kept_nothing_may_lose_its_checkpoints(tmp_path: Path) -> None:
    Trainer(config(), tmp_path / "run").close()
    shutil.rmtree(tmp_path / "run" / "checkpoint")
    Trainer(config(), tmp_path / "run").close()


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_disk_that_refuses_the_first_file_is_a_user_error(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(UserError, match=f"Cannot write .*none-yet .{os.strerror(number)}.: make room there"):
        Trainer(config(), tmp_path / "run")


def test_a_full_disk_leaves_no_new_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    _refused(tmp_path / "run", "No space left on device")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"env": "dmc:walker_stnad"}, "did you mean dmc:walker_stand"),
        ({"env": "toy:nothing"}, "There is no toy environment 'nothing'"),
        ({"env": "walker_walk"}, "is none of dmc:NAME"),
        ({"image_size": 20}, "--image-size is 20: it must be at least 22"),
        ({"image_size": 8}, "--image-size is 8: it must be at least 22"),
    ],
)
def test_environments_that_do_not_fit_leave_no_directory(tmp_path: Path, options: dict, message: str) -> None:
    _refused(tmp_path / "run", message, config(**options))


def test_a_directory_without_config_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a run directory: it has no config.json"):
        RunDirectory(tmp_path).config()
