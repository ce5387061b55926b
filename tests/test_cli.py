"""The commands as a user types them, in a process of their own where that matters."""

import errno
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import pytest
import torch

import dreamer
from dreamer import cli
from dreamer.cli import beginning
from dreamer.cli.options import DEFAULTS, RunOptions, Start, default_logdir, starting_point
from dreamer.config import WITHOUT_EFFECT, to_flat, with_options
from dreamer.errors import UserError
from dreamer.presets import debug, preset
from dreamer.storage import checkpoint
from dreamer.training.a3c_trainer import A3CTrainer

SMALL = ["--preset", "debug", "--image-size", "32", "--time-limit", "50", "--device", "cpu", "--threads", "1"]
SHORT = [*SMALL, "--steps", "300", "--checkpoint-every", "100", "--eval-every", "0", "--video-every", "300"]


def _environment() -> dict[str, str]:
    source = str(Path(dreamer.__file__).parents[1])
    return os.environ | {"PYTHONPATH": source, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `dreamer` with these arguments to its end."""
    line = [sys.executable, "-m", "dreamer", *map(str, arguments)]
    settings = {"env": _environment(), "capture_output": True, "text": True}
    return subprocess.run(line, check=False, timeout=120, **settings)


def in_process(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """What a command would exit with, without the seconds that a process takes to start."""
    monkeypatch.setattr(sys, "argv", ["dreamer", *map(str, arguments)])
    with pytest.raises(SystemExit) as exit_:
        cli.main()
    return int(exit_.value.code or 0)


def _last_json(shown: str) -> dict:
    return json.loads(shown.splitlines()[-1])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 300 frames, made by the command."""
    logdir = tmp_path_factory.mktemp("cli") / "run"
    result = command("train", *SHORT, "--logdir", logdir)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith(f"Training toy:dot in {logdir}\n")
    assert f"Done after 300 frames. Look at it:\n  dreamer plot {logdir}\n" in result.stdout
    assert f"  dreamer dream {logdir}\n" in result.stdout
    return logdir


def test_beginning_says_what_will_happen(trained: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """The run is complete, so nothing is trained; the numbers of its last episodes are shown again."""
    monkeypatch.setattr("dreamer.training.threads.busy", lambda: "others are")
    assert in_process(monkeypatch, "train", "--logdir", trained) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:7] == [
        f"Resuming toy:dot in {trained}",
        *textwrap.wrap(f"  options  those of {trained}", 79, subsequent_indent=" " * 11),
        lines[2],
        "  busy     others are",
        "  sees     image 32x32x3",
        "  acts     2 numbers, every 2 frames",
        lines[6],
    ]
    assert re.fullmatch(r"  device   .*, (bfloat16|float32), 1 thread", lines[2])
    assert re.fullmatch(r"  agent    dreamer, [\d,]+ parameters", lines[6])
    assert re.match(r"300 / 300 frames  learning  train \d+\.\d  eval \d+\.\d  updates 4", lines[7])


def test_beginning_of_a3c_tells_its_workers_and_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dreamer.training.rehearsal.speed_of_workers", lambda *_: 100.0)
    config = with_options(preset("debug", agent="a3c"), {"steps": 12_000})
    with closing(A3CTrainer(config, tmp_path / "run")) as trainer:
        lines = [*beginning.lines(trainer, starting_point("debug", agent="a3c"), tmp_path / "run")]
    assert re.fullmatch(r"  agent    a3c, [\d,]+ parameters, 2 workers", lines[-2])
    assert lines[-1] == "  time     about 2 min for 12,000 frames"


def test_forecast_leaves_no_trace_in_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    options = [*SHORT, "--video-every", "0"]
    assert in_process(monkeypatch, "train", *options, "--logdir", tmp_path / "with") == 0
    assert re.search(r"\n  time     about \d+ s for 300 frames and 4 updates\n", capsys.readouterr().out)
    monkeypatch.setattr("dreamer.cli.beginning.lines", lambda *_: [])
    assert in_process(monkeypatch, "train", *options, "--logdir", tmp_path / "without") == 0
    first, second = (_weights(tmp_path / name) for name in ("with", "without"))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_forecast_takes_no_step_of_the_users_own_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "envs"))
    monkeypatch.setattr("dreamer.bench.forecast.seconds_per_step", lambda *_: pytest.fail("it was stepped"))
    options = [
        *SHORT,
        "--env",
        "gym:sample_environments:Fragile-raise-v0",
        "--action-repeat",
        "1",
        "--obs",
        "state",
    ]
    assert in_process(monkeypatch, "train", *options, "--logdir", tmp_path / "run") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert re.search(r" time about \d+ s for 300 frames and \d+ updates, without the environment ", shown)


def _weights(logdir: Path) -> dict[str, torch.Tensor]:
    state = checkpoint.load(logdir / "checkpoint")
    assert state is not None
    return {name: x for name, x in state["agent"]["networks"].items() if isinstance(x, torch.Tensor)}


def test_run_directory_has_the_promised_files(trained: Path) -> None:
    assert {path.name for path in trained.iterdir()} == {
        ".lock",
        "checkpoint",
        "config.json",
        "machine.json",
        "metrics.jsonl",
        "replay",
        "tensorboard",
        "videos",
    }
    assert json.loads((trained / "config.json").read_text())["env"] == "toy:dot"
    names = {path.name for path in (trained / "videos").iterdir()}
    assert names == {"evaluation-000000300.mp4", "open_loop-000000300.mp4"}


def test_the_result_of_an_evaluation_is_shown_even_if_its_video_fails(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    (tmp_path / "file").touch()
    arguments = ["eval", trained, "--episodes", "1", "--video", tmp_path / "file" / "a.gif"]
    assert in_process(monkeypatch, *arguments) == 2
    out, err = capsys.readouterr()
    assert len(json.loads(out.splitlines()[-1])["returns"]) == 1
    assert err.startswith("dreamer: Cannot write ")


def test_a_video_that_cannot_be_written_is_refused_before_anything_is_played(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setattr("dreamer.api.load_run", lambda *_, **__: pytest.fail("the run was loaded"))
    for command_line in (["eval", trained, "--video", "x.txt"], ["dream", trained, "--out", "x.txt"]):
        assert in_process(monkeypatch, *command_line) == 2
        assert "let the file name end in .mp4 or .gif" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    for command_line in (["eval", trained, "--video", "x.mp4"], ["dream", trained]):
        assert in_process(monkeypatch, *command_line) == 2
        assert "pip install imageio-ffmpeg, or let the file name end in .gif" in capsys.readouterr().err


def test_video_of_an_agent_that_sees_no_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    logdir, video = tmp_path / "run", tmp_path / "a.gif"
    options = [*SHORT, "--obs", "state", "--steps", "60", "--prefill", "50", "--logdir", logdir]
    assert in_process(monkeypatch, "train", *options) == 0
    assert in_process(monkeypatch, "eval", logdir, "--episodes", "1", "--video", video) == 0
    assert not capsys.readouterr().err  # it shows the episode that was evaluated
    pictures = imageio.imread(video)
    assert pictures.shape == (25, 320, 320, 3)  # --time-limit 50, two frames in a step
    assert imageio.immeta(video)["duration"] == pytest.approx(
        1000 * 2 / 30, abs=10
    )  # toys have 30 frames a second


def test_errors_of_a_prediction_that_cannot_be_written_are_a_sentence(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    arguments = ["dream", trained, "--out", tmp_path / "a.gif", "--sequences", "1", "--length", "8"]
    assert in_process(monkeypatch, *arguments) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"dreamer: Cannot write {tmp_path / 'a.json'} (No space left on device)")
    assert not list(tmp_path.glob("*.tmp"))


def test_eval_prints_one_json_object_last(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    video = tmp_path / "play.mp4"
    assert in_process(monkeypatch, "eval", trained, "--episodes", 3, "--video", video) == 0
    shown = capsys.readouterr().out
    record = _last_json(shown)
    words = (
        r"Mean return \d+\.\d, standard deviation \d+\.\d, \d+\.\d to \d+\.\d in 3 episodes, after 300 frames"
    )
    assert re.match(words, shown)
    assert record.keys() == {"mean", "std", "returns", "env_step"}
    assert len(record["returns"]) == 3
    assert record["env_step"] == 300
    assert video.stat().st_size > 0


def test_dream_writes_video_image_and_errors(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    out = tmp_path / "dream.mp4"
    assert in_process(monkeypatch, "dream", trained, "--out", out, "--sequences", 2, "--length", 12) == 0
    errors = _last_json(capsys.readouterr().out)
    assert {path.name for path in tmp_path.iterdir()} == {"dream.mp4", "dream.png", "dream.json"}
    assert json.loads(out.with_suffix(".json").read_text()) == errors
    assert errors["env_step"] == 300


def test_plot_writes_an_image(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "curve.png"
    assert in_process(monkeypatch, "plot", trained, "--out", out) == 0
    assert out.read_bytes().startswith(b"\x89PNG")


def test_scores_and_their_table(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    out = tmp_path / "dreamer_debug.csv"
    arguments = ["scores", trained, "--out", out, "--commit", "abc", "--hardware", "2 cores"]
    assert in_process(monkeypatch, *arguments) == 0
    assert in_process(monkeypatch, "table", out) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == f"Added {trained} to {out}"
    assert [line.split(" | ")[0] for line in shown[1:]] == ["| task", "| ---", "| toy:dot"]
    assert json.loads(out.with_suffix(".json").read_text())["commit"] == "abc"
    assert in_process(monkeypatch, "plot", out, "--out", tmp_path / "curve.png") == 0


def test_commands_over_many_runs_leave_out_what_is_no_run(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    (tmp_path / "folder").mkdir()
    for command_line in (["plot", "--out", tmp_path / "a.png"], ["scores", "--out", tmp_path / "a.csv"]):
        assert in_process(monkeypatch, *command_line, trained, tmp_path / "folder") == 0
        out, err = capsys.readouterr()
        assert out
        assert err.startswith(f"dreamer: {tmp_path}/folder is not a run directory")
        assert in_process(monkeypatch, *command_line, tmp_path / "folder") == 2
        capsys.readouterr()


def test_bench_compares_with_a_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    options = ["bench", *SMALL, "--only", "replay", "--repeats", "1", "--json"]
    assert in_process(monkeypatch, *options, first) == 0
    assert "replay" in capsys.readouterr().out
    report = json.loads(first.read_text())
    for measurement in report["measurements"]:
        measurement["median"] /= 1000
    first.write_text(json.dumps(report))
    assert in_process(monkeypatch, *options, second, "--baseline", first) == 1
    assert "dreamer: Worse than the baseline by more than 1.3 times: " in capsys.readouterr().err
    assert in_process(monkeypatch, *options, second, "--baseline", first, "--tolerance", "1e9") == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_saves_and_the_same_command_goes_on(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """SIGTERM is what a sweep sends to its runs: see `tests/sweep/test_sweep.py`."""
    options = ["train", *SHORT, "--video-every", "0", "--logdir", "run", "--steps"]
    code, out, err = _signalled(number, *options, "100000000", cwd=tmp_path)
    assert code == 128 + number, err
    assert "Stopping after this step; once more stops at once.\n" in err
    said = r"Stopped after ([\d,]+) frames; saved in run/checkpoint\. The same command goes on from there\."
    stopped = re.search(said, out)
    assert stopped, out
    env_step = int(stopped[1].replace(",", ""))
    newest = sorted((tmp_path / "run" / "checkpoint").iterdir())[-1]
    assert newest.name.startswith(f"step-{env_step:09d}-")
    monkeypatch.chdir(tmp_path)
    assert in_process(monkeypatch, *options, 300 + env_step) == 0
    assert capsys.readouterr().out.startswith("Resuming toy:dot in run\n")


OUTPUTS = {
    "all closed": "<&- >&- 2>&-",
    "all full": "> /dev/full 2> /dev/full",
    "a reader that leaves": "2> errors | head -1",
}


@pytest.mark.parametrize("redirection", OUTPUTS.values(), ids=OUTPUTS.keys())
def test_training_goes_on_whatever_becomes_of_its_output(redirection: str, tmp_path: Path) -> None:
    line = shlex.join([sys.executable, "-u", "-m", "dreamer", "train", *SHORT, "--agent", "random"])
    script = f"{line} --logdir run {redirection}"
    subprocess.run(["sh", "-c", script], env=_environment(), cwd=tmp_path, check=True, timeout=120)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["env_step"] == 300
    assert list((tmp_path / "run" / "checkpoint").glob("step-000000300-*"))


def test_result_that_cannot_be_printed_is_an_error(tmp_path: Path) -> None:
    scores = Path(dreamer.__file__).parents[2] / "docs" / "results" / "scores" / "dreamer_laptop.csv"
    line = shlex.join([sys.executable, "-m", "dreamer", "table", str(scores)])
    result = subprocess.run(
        ["sh", "-c", f"{line} > /dev/full"],
        env=_environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode == 2
    assert result.stderr == "dreamer: Cannot write the output (No space left on device): send it elsewhere.\n"


def _signalled(number: signal.Signals, *arguments: str, cwd: Path) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command that gets a signal at its first line of progress."""
    line = [sys.executable, "-u", "-m", "dreamer", *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(line, env=_environment(), cwd=cwd, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            next(shown for shown in process.stdout if " frames  " in shown)
            process.send_signal(number)
            out, err = process.communicate(timeout=100)
        finally:
            process.kill()
    return process.returncode, out, err


BAD = {
    "unknown command": (["fly"], "There is no command 'fly'; there are train"),
    "a group of commands": (["help", "plto"], "There is no command 'plto' (did you mean plot?)"),
    "mistyped command": (["trian"], "There is no command 'trian' (did you mean train?)"),
    "an option before the command": (["--seed", "1", "train"], "Options come after a command"),
    "unknown environment": (["train", "--env", "dmc:walker_stnad"], "did you mean dmc:walker_stand"),
    "unknown option": (["train", "--horizzon", "3"], "--horizon"),
    "ill-typed option": (["train", "--horizon", "abc"], "--horizon"),
    "no such choice": (["train", "--obs", "smell"], "--obs"),
    "number out of range": (["train", "--horizon", "1"], "--horizon must be at least 2"),
    "unknown preset": (["train", "--preset", "big"], "There is no preset 'big'"),
    "no run": (["eval", "."], "is not a run directory"),
    "no episodes": (["eval", ".", "--episodes", "0"], "--episodes must be at least 1"),
    "a seed below zero": (["eval", ".", "--seed", "-1"], "--seed must be at least 0"),
    "unknown device": (["eval", ".", "--device", "abacus"], "--device"),
    "too much context": (["dream", ".", "--context", "50"], "--context must lie between"),
    "no run to predict from": (["dream", "missing"], "missing is not a run directory"),
    "no run to plot": (["plot", "missing"], "missing"),
    "no baseline": (["bench", "--baseline", "missing"], "missing is no report of `dreamer bench`"),
    "a tolerance below one": (["bench", "--tolerance", "0.5"], "--tolerance must be at least 1"),
    "nothing to repeat": (["bench", "--repeats", "0"], "--repeats must be at least 1"),
    "nothing between one round": (["bench", "--rounds", "1"], "--rounds must be at least 2"),
    "no such subject": (["bench", "--only", "fun"], "--only"),
    "no scores file": (["table", "missing.csv"], "missing.csv is not a scores file"),
    "no run to add": (["scores", "missing", "--out", "a.csv"], "missing"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD.values(), ids=BAD.keys())
def test_bad_input_gets_a_sentence_and_leaves_nothing(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert in_process(monkeypatch, *arguments) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert "Traceback" not in err
    assert not out
    assert not list(tmp_path.iterdir())


def test_a_run_of_another_configuration_is_left_alone(
    trained: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    before = {path: path.stat().st_mtime_ns for path in trained.rglob("*")}
    assert in_process(monkeypatch, "train", *SHORT, "--horizon", "7", "--logdir", trained) == 2
    assert capsys.readouterr().err == (
        f"dreamer: {trained} holds a run with other options (horizon was 5, now 7): choose another --logdir,"
        f" or go on with the run's own options by `dreamer train --logdir {trained}`.\n"
    )
    assert {path: path.stat().st_mtime_ns for path in trained.rglob("*")} == before


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_explains_itself(name: str, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert in_process(monkeypatch, name, "--help") == 0
    shown = capsys.readouterr().out
    assert f"usage: dreamer {name}" in shown
    assert f"Examples:\n  dreamer {name} " in shown
    assert max(map(len, shown.replace("  dreamer ", "\n").splitlines())) < 80 or name == "sweep"
    assert in_process(monkeypatch, "help", name) == 0
    assert capsys.readouterr().out == shown


def test_help_lists_every_command(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert in_process(monkeypatch, "--help") == 0
    shown = capsys.readouterr().out
    assert "dreamer train --env dmc:walker_stand" in shown
    assert [command for command in re.findall(r"^  (\w+) ", shown, re.M) if command != "dreamer"] == [
        *cli.COMMANDS
    ]
    for same in ([], ["help"], ["-h"]):
        assert in_process(monkeypatch, *same) == 0
        assert capsys.readouterr().out == shown


def test_help_of_train_begins_with_what_people_change_first(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert in_process(monkeypatch, "train", "--preset", "debug", "--help") == 0
    first, *parts = re.split(r"\n\n(?=[^\n]+:\n  --)", capsys.readouterr().out)[1:]
    assert re.findall(r"^  --([\w-]+)", first, re.M) == [
        *("preset", "config", "logdir", "env", "obs", "agent", "steps", "seed", "action-repeat", "device")
    ]
    assert "--steps INT           Simulator frames in all. [1000]" in first  # the preset's own default
    assert parts[0].startswith("The environment and what the agent sees of it (paper, Section 6):\n")


@pytest.mark.parametrize(
    ("agent", "heading", "own"),
    [
        ("d4pg", "D4PG (Barth-Maron et al. 2018)", ["n-step", "atoms", "v-max", "target-every"]),
        ("a3c", "A3C (Mnih et al. 2016)", ["workers", "rollout", "lr", "anneal", "entropy"]),
    ],
)
def test_help_of_a_baseline_has_its_own_options_and_none_that_it_does_not_read(
    monkeypatch: pytest.MonkeyPatch, capsys, agent: str, heading: str, own: list[str]
) -> None:
    assert in_process(monkeypatch, "train", "--agent", agent, "--help") == 0
    shown = capsys.readouterr().out
    before, _, group = shown.partition(f"\n\n{heading}")
    assert re.findall(r"^  --([\w-]+)", group, re.M)[: len(own)] == own
    listed = {name.replace("-", "_") for name in re.findall(r"^  --([\w-]+)", before, re.M)}
    assert not listed & WITHOUT_EFFECT[agent]
    assert ("ray" in listed) == (agent == "d4pg")
    assert in_process(monkeypatch, "train", "--help") == 0
    assert heading not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "owner"),
    [
        (["--workers", "3"], "a3c"),
        (["--agent", "planet", "--n-step=3"], "d4pg"),
        (["--agent", "d4pg", "--workers", "3"], "a3c"),
        (["--agent", "a3c", "--atoms", "11"], "d4pg"),
    ],
    ids=str,
)
def test_an_option_of_another_agent_is_refused_with_its_name(
    monkeypatch: pytest.MonkeyPatch, capsys, words: list[str], owner: str
) -> None:
    assert in_process(monkeypatch, "train", "--preset", "debug", *words) == 2
    assert f"belongs to --agent {owner}: add that, or leave " in capsys.readouterr().err


def test_ray_is_refused_for_an_agent_without_actors(
    monkeypatch: pytest.MonkeyPatch, capsys, tmp_path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert in_process(monkeypatch, "train", "--agent", "a3c", "--ray", "--preset", "debug") == 2
    assert "--ray is for --agent d4pg" in capsys.readouterr().err
    assert not [*tmp_path.iterdir()]


def test_version(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert in_process(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"dreamer {dreamer.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--help"], 0),
        (["train", "--help"], 0),
        (["eval", "--help"], 0),
        (["train", "--horizzon", "3"], 2),
        (["eval", "run", "--episode", "3"], 2),
        (["train", "--capacity", "3"], 2),
        (["fly"], 2),
    ],
    ids=str,
)
def test_help_and_mistyped_options_do_without_pytorch(
    arguments: list[str], status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading PyTorch or a simulator takes seconds, so here it fails."""
    for name in ("torch", "gymnasium", "mujoco"):
        (tmp_path / f"{name}.py").write_text(f"raise SystemExit('{name} was loaded')")
    code = "from dreamer import presets; presets.GPU_DEVICES = (); from dreamer.cli import main; main()"
    path = f"{tmp_path}{os.pathsep}{_environment()['PYTHONPATH']}"
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=_environment() | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == status, result.stderr
    assert "was loaded" not in result.stderr


def test_the_folder_of_the_user_comes_last_in_the_search_for_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    assert in_process(monkeypatch, "--help") == 0
    assert sys.path.index(str(tmp_path)) == len(sys.path) - 1


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `dreamer train` was asked for, in place of a run."""
    result: dict[str, Any] = {}

    def train(
        preset: str = "",
        config: Path | None = None,
        logdir: Path | None = None,
        options: RunOptions = DEFAULTS,
    ) -> None:
        """Note the options."""
        result.update(preset=preset, options=options)

    monkeypatch.setitem(cli.COMMANDS, "train", train)
    return result


def test_the_preset_sets_the_defaults_of_all_other_options(asked: dict[str, Any]) -> None:
    cli.run(["train", "--horizon", "9", "--preset=debug"])
    assert (asked["options"].behavior.horizon, asked["options"].model.units) == (9, 16)
    assert asked["preset"] == "debug"


def test_an_atari_game_sets_defaults_too(asked: dict[str, Any]) -> None:
    cli.run(["train", "--preset", "laptop", "--env", "atari:pong", "--horizon", "9"])
    assert asked["options"].model.pcont
    assert (asked["options"].environment.time_limit, asked["options"].behavior.horizon) == (108_000, 9)
    cli.run(["train", "--preset", "laptop"])
    assert not asked["options"].model.pcont


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (["--capacity", "5"], "--capacity is now --replay-size"),
        (["--seed_frames=5"], "--seed-frames is now --prefill"),
        (["--no-gray"], "--gray is now --env-args gray=True"),
        (["--sticky", "0"], "--sticky is now --env-args sticky=0.25"),
        (["--no-life-loss"], "--life-loss is now --env-args life_loss=False"),
    ],
)
def test_a_renamed_option_is_answered_with_its_new_name(old: list[str], new: str) -> None:
    with pytest.raises(UserError, match=new):
        cli.run(["train", "--env", "toy:dot", *old])


@pytest.mark.parametrize(("number", "value"), [("1e3", 1000), ("1.5e6", 1_500_000), ("2_000", 2000)])
def test_whole_numbers_may_have_exponents(number: str, value: int, asked: dict[str, Any]) -> None:
    cli.run(["train", "--preset", "debug", "--steps", number])
    assert asked["options"].training.steps == value


@pytest.mark.parametrize("number", ["1.5", "nan", "inf", "many", ""])
def test_other_numbers_are_no_whole_numbers(number: str, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert in_process(monkeypatch, "train", "--steps", number) == 2
    assert f"--steps: {number} is not a whole number" in capsys.readouterr().err


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """The directory of a run that has its options, of which some are no preset's."""
    options = {"env": "toy:dot", "horizon": 4, "batch_size": 3, "action_repeat": 2}
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.json").write_text(json.dumps(to_flat(with_options(debug(), options))))
    return tmp_path / "mine"


def test_a_run_goes_on_with_its_own_options(saved: Path, asked: dict[str, Any]) -> None:
    cli.run(["train", "--logdir", str(saved), "--steps", "5e3"])
    behavior, replay, schedule = asked["options"].behavior, asked["options"].replay, asked["options"].training
    assert (behavior.horizon, replay.batch_size, schedule.steps) == (4, 3, 5000)
    cli.run(["train", "--logdir", str(saved), "--preset", "debug"])  # a preset that is given wins
    assert asked["options"].behavior.horizon == debug().behavior.horizon


def test_a_copy_starts_from_a_run_or_a_file(saved: Path, asked: dict[str, Any], tmp_path: Path) -> None:
    for start in (saved, saved / "config.json"):
        cli.run(["train", "--config", str(start), "--batch-size", "7", "--logdir", str(tmp_path / "copy")])
        assert (asked["options"].behavior.horizon, asked["options"].replay.batch_size) == (4, 7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "missing"], "There is no missing: give a directory that `dreamer train` wrote"),
        (["--config", "mine", "--preset", "debug"], "--preset and --config are both a starting point"),
        (["--config", "broken.json"], "broken.json cannot be read"),
        (["--config", "typed.json"], "--horizon must be a whole number, got 'x'"),
        (["--config", "old.json"], "grey is now env_args gray=True"),
    ],
    ids=str,
)
def test_a_starting_point_that_cannot_be_is_a_sentence(
    arguments: list[str], message: str, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(saved.parent)
    for name, text in {"broken": "{", "typed": '{"horizon": "x"}', "old": '{"grey": true}'}.items():
        Path(f"{name}.json").write_text(text)
    with pytest.raises(UserError, match=re.escape(message)):
        cli.run(["train", *arguments])


def name_of(**options: Any) -> str:
    """Name of a run by default, for options on top of the preset `debug`."""
    start = Start("debug", debug())
    return str(default_logdir(start, with_options(debug(), options)))


def test_default_logdir_names_what_differs_from_the_preset() -> None:
    assert name_of(env="gym:my:Env-v0", seed=3) == "runs/gym-my-Env-v0-debug-dreamer-3"
    assert name_of(horizon=7, pcont=True) == "runs/toy-dot-debug-dreamer-pcont=True,horizon=7-0"
    assert name_of(agent="planet", obs="state") == "runs/toy-dot-debug-planet-obs=state-0"


def test_default_logdir_ignores_what_a_run_may_change() -> None:
    """So the same command with more `--steps` goes on with the same run."""
    assert name_of(steps=5, threads=1, device="cpu") == name_of()


def test_default_logdir_fits_a_file_system() -> None:
    changes = {name: value * 2 for name, value in to_flat(debug()).items() if type(value) is float and value}
    first, second = name_of(**changes), name_of(**changes | {"model_lr": 0.5})
    assert len(first) < 100
    assert first != second


def test_traceback_of_an_internal_error_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        """Fail."""
        raise ZeroDivisionError

    monkeypatch.setitem(cli.COMMANDS, "eval", broken)
    monkeypatch.setattr(sys, "argv", ["dreamer", "eval"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


@pytest.mark.render
def test_a_refusal_leaves_no_simulator_behind(tmp_path: Path) -> None:
    """One that is not closed prints the traceback of its OpenGL context when Python ends."""
    (tmp_path / "file").write_text("no directory")
    options = ["--preset", "debug", "--env", "dmc:cartpole_balance", "--device", "cpu"]
    result = command("train", *options, "--logdir", tmp_path / "file" / "run")
    assert result.returncode == 2
    assert re.fullmatch(r"dreamer: Cannot write in .*\n", result.stderr)


def test_threads_and_processes_that_are_left_behind_do_not_keep_a_command_from_ending() -> None:
    program = (
        "import atexit, multiprocessing, threading, time\n"
        "from dreamer.cli import _end_what_was_left\n"
        "atexit.register(print, 'closed')\n"
        "multiprocessing.get_context('fork').Process(target=time.sleep, args=(600,)).start()\n"
        "threading.Thread(target=time.sleep, args=(600,)).start()\n"
        "_end_what_was_left(7)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(Path(dreamer.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (ended.returncode, ended.stdout) == (7, "closed\n")


def test_interrupt_while_the_program_is_loaded_ends_it_silently() -> None:
    code = """
import os, runpy, signal, sys
class Interrupt:
    def find_spec(self, name, path, target=None):
        if name == "dreamer.cli":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Interrupt())
runpy.run_module("dreamer", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGINT
    assert not done.stderr
