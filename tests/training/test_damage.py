"""Whatever is damaged in a run is noticed, named, and refused or done without: never silently other numbers."""

import contextlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dreamer import cli
from dreamer.errors import UserError
from dreamer.export.export import export_run
from dreamer.export.policy import load_policy
from dreamer.replay.episode_file import DamagedEpisodeError, read_episode, write_episode
from dreamer.results.curves import read_run
from dreamer.storage import checkpoint
from dreamer.storage.load import load_run
from dreamer.storage.run_directory import RunDirectory
from dreamer.training.trainer import Trainer
from dreamer.verify import verify
from training.runs import call_after, config, everything, metrics, run, same

FEW, MANY = 12, 400
"""Bits of each kind of file, in all tests and in the slow ones."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was stopped at 340 frames, with checkpoints at 300 and 340, and its policy beside it."""
    directory = tmp_path_factory.mktemp("original")
    run(config(), directory / "run", ("_interact", 170))
    export_run(directory / "run", directory / "policy.pt")
    export_run(directory / "run", directory / "policy.pt.xz")
    return directory / "run"


@pytest.fixture(scope="module")
def sound(original: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an undamaged copy resumes with."""
    copy = tmp_path_factory.mktemp("sound") / "run"
    shutil.copytree(original, copy)
    return resumed(copy)


@pytest.fixture
def damaged(original: Path, tmp_path: Path) -> Path:
    """A copy, to be damaged."""
    shutil.copytree(original, tmp_path / "run")
    return tmp_path / "run"


def resumed(logdir: Path) -> dict[str, Any]:
    """Start the run again; return its state, every sound episode, and the record."""
    trainer = Trainer(config(), logdir)
    try:
        episodes = {}
        for number in trainer.store.ids.tolist():
            with contextlib.suppress(DamagedEpisodeError):
                episode = trainer.store.episode(number)
                episodes[number] = {key: torch.from_numpy(array.copy()) for key, array in episode.items()}
        state = everything(trainer)
        del state["files"], state["replay"]
        return {"state": state, "episodes": episodes, "record": (logdir / "metrics.jsonl").read_bytes()}
    finally:
        trainer.close()


def flip(file: Path, rng: np.random.Generator) -> None:
    """Change one random bit."""
    content = bytearray(file.read_bytes())
    bit = int(rng.integers(8 * len(content)))
    content[bit // 8] ^= 1 << bit % 8
    file.write_bytes(content)


EPISODE = "replay/episode-00000003-26.npz"
KINDS = {
    "episode": EPISODE,
    "newest checkpoint": "checkpoint/step-000000340-*.pt",
    "record": "metrics.jsonl",
    "options": "config.json",
    "machine": "machine.json",
}
numbers = pytest.mark.parametrize("number", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])


@pytest.mark.parametrize("pattern", KINDS.values(), ids=KINDS.keys())
@numbers
def test_a_random_bit_is_noticed_or_changes_nothing(
    pattern: str, number: int, damaged: Path, original: Path, sound: dict[str, Any], caplog
) -> None:
    (file,) = damaged.glob(pattern)
    content = file.read_bytes()
    outcomes = {"refused": 0, "said": 0, "nothing": 0}
    for rng in np.random.default_rng(0).spawn(number):
        flip(file, rng)
        caplog.clear()
        try:
            now = resumed(damaged)
        except UserError as error:
            outcomes["refused" if str(damaged) in str(error) else str(error)] += 1
        else:
            said = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
            outcomes["said" if said else "nothing"] += 1
            if "checkpoint" in pattern and said:
                assert now["state"]["env_step"] == 300
            else:
                assert same(now["state"], sound["state"])
                assert now["record"] == sound["record"]
            left_out = sound["episodes"].keys() - now["episodes"].keys()
            assert left_out <= ({3} if said else set())
            assert all(same(now["episodes"][i], sound["episodes"][i]) for i in now["episodes"])
        shutil.rmtree(damaged)
        shutil.copytree(original, damaged)
    assert file.read_bytes() == content
    noticed = outcomes["refused"] + outcomes["said"]
    # Of an episode, names of zip's fields mean nothing; of the options, those that may change, and spaces.
    assert noticed >= number * {"episode": 0.9, "newest checkpoint": 1, "record": 1}.get(
        file_kind(pattern), 0
    )


def file_kind(pattern: str) -> str:
    return next(kind for kind, other in KINDS.items() if other == pattern)


@pytest.mark.parametrize("number", [50, pytest.param(MANY, marks=pytest.mark.slow)])
def test_a_random_bit_of_a_policy_is_noticed_or_changes_nothing(
    number: int, original: Path, tmp_path: Path
) -> None:
    content, file = (original.parent / "policy.pt").read_bytes(), tmp_path / "policy.pt"
    file.write_bytes(content)
    weights = load_policy(file).agent.algorithm.state_dict()
    options, named = load_policy(file).config, 0
    for rng in np.random.default_rng(0).spawn(number):
        file.write_bytes(content)
        flip(file, rng)
        try:
            policy = load_policy(file)
        except UserError as error:
            named += str(file) in str(error)
        else:
            named += 1
            assert same(policy.agent.algorithm.state_dict(), weights)
            assert policy.config == options
    assert named == number


def _weights(of: float) -> Callable[[dict[str, Any]], Any]:
    """Return what sets the weights of every network to one number."""

    def change(state: dict[str, Any]) -> dict[str, Any]:
        for weight in state["agent"]["networks"].values():
            weight.fill_(of)
        return state

    return change


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    """Return what replaces one item of a nest of dicts."""

    def change(state: dict[str, Any]) -> dict[str, Any]:
        *folders, name = path.split("/")
        part = state
        for folder in folders:
            part = part[folder]
        if value is None:
            del part[name]
        else:
            part[name] = value
        return state

    return change


WRONG: dict[str, Callable[[dict[str, Any]], Any]] = {
    "weights that are not numbers": _weights(float("nan")),
    "a list": lambda state: [1, 2],
    "nothing": lambda state: {},
    "no agent": _set("agent", None),
    "no networks": _set("agent/networks", None),
    "another optimizer": _set("agent/optimizers/actor", {"m": [], "v": [], "steps": 0}),
    "weights of another shape": _set("agent/networks/value.layers.0.weight", torch.zeros(1)),
    "no episodes": _set("replay", None),
    "episodes by letters": _set("replay", {"episodes": [["a", "b"]], "next_id": 0}),
    "a next episode before its own": _set("replay/next_id", -5),
    "no record": _set("logger", None),
    "random state of something else": _set("replay_rng", "{}"),
    "a clock that is text": _set("counters", "noon"),
    "a record that is no record": _set("logger/record", {"compressed": torch.zeros(9, dtype=torch.uint8)}),
    "no collector": _set("collector", {}),
    "a clock of letters": _set("evaluation_clock/last", "x"),
    "a clock that stands still": _set("checkpoint_clock/last", None),
    "updates that are not a number": _set("counters/grad_step", float("nan")),
    "fewer than no updates": _set("counters/agent_step", -5),
    "episodes as text": _set("counters/episodes", "x"),
    "more episodes than memory": _set("replay", {"episodes": [[0, 10**12]], "next_id": 10**12}),
    "episodes backward": _set("replay/episodes", [[9, 3]]),
    "episodes below 0": _set("replay/episodes", [[-5, 3]]),
    "one checksum too few": _set("replay/checksums", [1]),
    "another horizon": _set("options/horizon", 7),
    "another version": _set("format", 99),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG.keys())
def test_a_checkpoint_with_a_right_checksum_and_wrong_content_is_refused(
    change: Callable[[dict[str, Any]], Any], damaged: Path
) -> None:
    directory = damaged / "checkpoint"
    newest = checkpoint.paths(directory)[0]
    state = {"format": checkpoint.FORMAT, **checkpoint.read(newest)}
    if change is WRONG["weights of another shape"]:
        name = next(name for name in state["agent"]["networks"] if name.startswith("value"))
        change = _set(f"agent/networks/{name}", torch.zeros(1))
    for path in checkpoint.paths(directory):
        path.unlink()
    content = checkpoint._serialize(change(state))
    (directory / f"step-000000340-{checkpoint._checksum(content)}.pt").write_bytes(content)
    episodes = sorted((damaged / "replay").iterdir())
    with pytest.raises(UserError, match=re.escape(str(directory))):
        Trainer(config(), damaged)
    assert sorted((damaged / "replay").iterdir()) == episodes


NO_OPTIONS = [
    b"",
    b"[]",
    b"7",
    b"null",
    b'"env"',
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"env": 7}',
    b'{"horizon": "15"}',
]
NO_OPTIONS += [
    b'{"horizon": -1}',
    b'{"horizon": 1e400}',
    b'{"gamma": NaN}',
    b'{"agent": []}',
    b'{"units": 1.5}',
]


@pytest.mark.parametrize("content", NO_OPTIONS, ids=lambda content: repr(content[:20]))
def test_options_with_wrong_content_are_a_sentence(content: bytes, damaged: Path) -> None:
    (damaged / "config.json").write_bytes(content)
    for read in (lambda: Trainer(config(), damaged), RunDirectory(damaged).config, lambda: load_run(damaged)):
        with pytest.raises(UserError, match=re.escape(str(damaged / "config.json"))):
            read()


@pytest.mark.parametrize(
    "change",
    [{"units": 10**9}, {"image_size": 10**9}, {"num_envs": 10**6}, {"env": None}, {"batch_size": 10**12}],
    ids=lambda change: next(iter(change)),
)
def test_options_that_are_not_those_of_the_checkpoint_are_refused_before_anything_is_made_of_them(
    change: dict[str, Any], damaged: Path
) -> None:
    options = json.loads((damaged / "config.json").read_text()) | change
    kept = {name: value for name, value in options.items() if value is not None}
    (damaged / "config.json").write_text(json.dumps(kept))
    with pytest.raises(UserError, match=f"its {next(iter(change))} is "):
        Trainer(RunDirectory(damaged).config(), damaged)


def test_rate_that_is_not_that_of_the_checkpoint_is_said(damaged: Path, caplog) -> None:
    options = json.loads((damaged / "config.json").read_text())
    (damaged / "config.json").write_text(json.dumps(options | {"model_lr": 0.5}))
    Trainer(RunDirectory(damaged).config(), damaged).close()
    assert "goes on with other options: model_lr was 0.0006, now 0.5." in caplog.text


LINES = [b"", b"[]", b"7", b"\xff", b"[" * 100_000, b'{"env_step": "9"}', b'{"env_step": NaN}', b"9" * 5000]
LINES += [b'{"env_step": 9, "eval/return": "9"}', b'{"env_step": 9, "seconds": []}', b'{"env_step": 1e999}']


@pytest.mark.parametrize("line", LINES, ids=lambda line: repr(line[:30]))
def test_a_wrong_line_of_the_record_is_named_left_out_and_mended(
    line: bytes, damaged: Path, original: Path, sound: dict[str, Any]
) -> None:
    (damaged / "metrics.jsonl").write_bytes(line + b"\n" + sound["record"])
    notes: list[str] = []
    with pytest.raises(UserError, match=r"Line 1 of .*metrics.jsonl is broken"):
        read_run(damaged)
    assert read_run(damaged, notes).mean.tolist() == read_run(original).mean.tolist()
    assert len(notes) == 1
    assert resumed(damaged)["record"] == sound["record"]


def test_damage_while_it_trains_costs_what_was_damaged(tmp_path: Path, caplog) -> None:
    """Files that were mapped into memory would end the process here, without a word."""

    def damage() -> None:
        replay = logdir / "replay"
        for number, length in ((0, 1000), (1, 0)):
            with (replay / f"episode-0000000{number}-26.npz").open("r+b") as file:
                file.truncate(length)
        flip(replay / "episode-00000002-26.npz", np.random.default_rng(0))
        (logdir / "metrics.jsonl").unlink()
        shutil.rmtree(logdir / "tensorboard")

    logdir = tmp_path / "run"
    trainer = Trainer(config(), logdir)
    call_after(trainer, "_interact", 130, damage)
    try:
        assert trainer.run()
    finally:
        trainer.close()
    assert trainer.store.ids.tolist() == list(range(3, 12))
    assert sum("is damaged" in record.message for record in caplog.records) == 3
    assert [line["env_step"] for line in metrics(logdir) if "train/return" in line] == [*range(50, 601, 50)]
    assert cli.run(["verify", str(logdir / "metrics.jsonl")]) == 0


# -- dreamer verify ------------------------------------------------------------------------------------------


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, list[str]]]:
    """Run `dreamer verify`; return its status and what it prints."""

    def run_verify(*paths: Path) -> tuple[int, list[str]]:
        capsys.readouterr()
        status = cli.run(["verify", *map(str, paths)])
        return status, capsys.readouterr().out.splitlines()

    return run_verify


def test_verify_finds_a_run_sound(original: Path, lines) -> None:
    status, printed = lines(original, original.parent / "policy.pt", original.parent / "policy.pt.xz")
    assert status == 0
    assert all(line.startswith("sound ") for line in printed)
    assert [line.split("/")[-1].split("-")[0] for line in printed] == [
        *(
            "config.json",
            "machine.json",
            "step",
            "step",
            "metrics.jsonl",
            "replay: 6 of 6 episodes",
            "policy.pt",
            "policy.pt.xz",
        )
    ]


@pytest.mark.parametrize("pattern", [*KINDS.values(), "checkpoint/step-000000300-*.pt"])
def test_verify_finds_what_is_cut(pattern: str, damaged: Path, lines) -> None:
    (file,) = damaged.glob(pattern)
    file.write_bytes(file.read_bytes()[:-30])
    for status, printed in (lines(damaged), lines(file)):
        assert status == 1
        (found,) = [line for line in printed if line.startswith("REFUSED")]
        assert str(file) in found


def test_verify_changes_nothing_and_names_what_is_missing(damaged: Path, lines) -> None:
    (damaged / "replay" / "episode-00000001-26.npz").unlink()
    bad = damaged / "replay" / "episode-00000002-26.npz"
    flip(bad, np.random.default_rng(0))
    before = sorted(path.name for path in (damaged / "replay").iterdir())
    status, printed = lines(damaged.parent)
    assert status == 1
    assert f"REFUSED  {bad}: " in "\n".join(printed)
    assert printed[-1] == f"REFUSED  {bad.parent} lacks episodes that the checkpoint was made with (id 1)."
    assert sorted(path.name for path in (damaged / "replay").iterdir()) == before


WRONG_FOR_VERIFY = WRONG | {
    "an environment of 10^18 pixels": _set("spec/images", {"image": [10**9, 10**9, 3]})
}
UNREADABLE = ("a list", "no record", "a record that is no record", "episodes by letters", "another version")
UNREADABLE += ("a clock of letters", "updates that are not a number", "more episodes than memory")
UNREADABLE += ("one checksum too few", "an environment of 10^18 pixels", "weights that are not numbers")


@pytest.mark.parametrize("kind", UNREADABLE)
def test_verify_refuses_a_checkpoint_with_a_right_checksum_and_wrong_content(
    kind: str, damaged: Path, lines
) -> None:
    newest, older = checkpoint.paths(damaged / "checkpoint")
    content = checkpoint._serialize(
        WRONG_FOR_VERIFY[kind]({"format": checkpoint.FORMAT, **checkpoint.read(newest)})
    )
    older.unlink()
    newest.unlink()
    wrong = newest.with_name(f"step-000000340-{checkpoint._checksum(content)}.pt")
    wrong.write_bytes(content)
    for status, printed in (lines(damaged), lines(wrong)):
        assert status == 1
        (found,) = [line for line in printed if line.startswith("REFUSED")]
        assert str(wrong) in found


@pytest.mark.parametrize(
    "change",
    [lambda options: options | {"units": 10**9}, lambda options: options | {"agent": "no-value"}],
    ids=["larger networks", "another agent"],
)
def test_verify_refuses_checkpoints_that_do_not_fit_the_options(change, damaged: Path, lines) -> None:
    file = damaged / "config.json"
    file.write_text(json.dumps(change(json.loads(file.read_text()))))
    newest, older = checkpoint.paths(damaged / "checkpoint")
    status, printed = lines(damaged)
    assert status == 1
    refused = [line for line in printed if line.startswith("REFUSED")]
    assert [str(path) in line for path, line in zip((newest, older), refused, strict=True)] == [True, True]
    assert lines(newest)[0] == 1


def test_verify_refuses_a_checkpoint_with_other_networks(damaged: Path, lines) -> None:
    name = ""
    for path in checkpoint.paths(damaged / "checkpoint"):
        state = {"format": checkpoint.FORMAT, **checkpoint.read(path)}
        name = next(name for name in state["agent"]["networks"] if name.startswith("value"))
        content = checkpoint._serialize(_set(f"agent/networks/{name}", torch.zeros(1))(state))
        path.unlink()
        path.with_name(f"{path.name[:15]}{checkpoint._checksum(content)}.pt").write_bytes(content)
    status, printed = lines(damaged)
    assert status == 1
    assert sum(f"networks.{name} is float32[1] instead of" in line for line in printed) == 2


def test_verify_refuses_episodes_of_another_run_and_two_of_one_number(damaged: Path, lines) -> None:
    episode = {key: array[:9].astype("f8") for key, array in read_episode(damaged / EPISODE).items()}
    write_episode(damaged / "replay" / "episode-00000003-9.npz", episode)
    status, printed = lines(damaged)
    assert status == 1
    refused = [line for line in printed if line.startswith("REFUSED")]
    assert len(refused) == 2
    assert "but episodes of this run {'image': 'uint8" in refused[0]
    assert "two files of one episode (id 3)" in refused[1]


def test_episodes_that_have_changed_their_names_are_noticed(damaged: Path, lines, caplog) -> None:
    one, other = damaged / EPISODE, damaged / "replay" / "episode-00000004-26.npz"
    content = one.read_bytes(), other.read_bytes()
    other.write_bytes(content[0])
    one.write_bytes(content[1])
    status, printed = lines(damaged)
    assert status == 1
    assert sum("the checkpoint was made with another one" in line for line in printed) == 2
    trainer = Trainer(config(), damaged)
    trainer.close()
    assert trainer.store.ids.tolist() == [0, 1, 2, 5]
    assert caplog.text.count("going on without it") == 2


@pytest.mark.parametrize("folder", ["replay", "checkpoint"])
def test_verify_refuses_a_run_without_its_episodes_or_its_checkpoints(
    folder: str, damaged: Path, lines
) -> None:
    shutil.rmtree(damaged / folder)
    status, printed = lines(damaged)
    assert status == 1
    assert any(line.startswith(f"REFUSED  {damaged / folder} ") for line in printed)


IRREGULAR: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "folder": Path.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.parametrize("pattern", KINDS.values(), ids=KINDS.keys())
@pytest.mark.parametrize("make", IRREGULAR.values(), ids=IRREGULAR.keys())
def test_what_is_no_file_is_refused_or_done_without(
    make: Callable[[Path], object], pattern: str, damaged: Path, sound: dict[str, Any], lines, caplog
) -> None:
    """A pipe would wait forever for somebody to write into it, a device gives bytes without end."""
    (file,) = damaged.glob(pattern)
    file.unlink()
    make(file)
    status, printed = lines(damaged)
    assert status == 1
    assert [file.name in line for line in printed if line.startswith("REFUSED")] == [True]
    if file.name == "config.json":
        with pytest.raises(UserError, match=r"config.json"):
            resumed(damaged)
        return
    trainer = Trainer(config(), damaged)
    trainer.close()
    assert file.name in caplog.text
    assert trainer.counters.env_step == (300 if "checkpoint" in pattern else 340)
    assert len(trainer.store) == (5 if "episode" in pattern else 6)
    assert (damaged / "metrics.jsonl").read_bytes() == sound["record"] or "checkpoint" in pattern


def test_verify_passes_over_a_checkpoint_that_the_training_process_removes_meanwhile(
    damaged: Path, lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    original_paths, gone = checkpoint.paths, damaged / "checkpoint" / f"step-000000360-{16 * 'a'}.pt"
    monkeypatch.setattr(checkpoint, "paths", lambda directory: [gone, *original_paths(directory)])
    status, printed = lines(damaged)
    assert status == 0
    assert str(gone) not in "\n".join(printed)


def test_a_name_that_is_no_utf_8_is_taken(
    original: Path, tmp_path: Path, sound: dict[str, Any], lines
) -> None:
    copy = tmp_path / os.fsdecode(b"run-\xff\xfe")
    shutil.copytree(original, copy)
    assert all(finding.sound for finding in verify([copy]))
    assert same(resumed(copy)["state"], sound["state"])


def test_a_name_that_is_too_long_is_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["dreamer", "verify", 300 * "x"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2
    assert "File name too long): choose another path." in capsys.readouterr().err


def test_verify_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text(json.dumps({}))
    for path in (tmp_path / "notes.txt", tmp_path / "missing", tmp_path):
        with pytest.raises(UserError, match=re.escape(str(path))):
            cli.run(["verify", str(path)])
