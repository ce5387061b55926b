"""One run in several processes is the run of one; whatever ends one of them ends all, and says why."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from dreamer.agents.agent import Agent
from dreamer.config import Config, to_flat
from dreamer.distributed import launch
from dreamer.distributed.launch import RankAgent
from dreamer.distributed.ranks import Ranks
from dreamer.errors import UserError
from dreamer.presets import debug
from dreamer.types import Batch
from helpers import IMAGE, small_agent, small_config
from training.runs import config, metrics, run

ROOT = Path(__file__).parents[2]
TRAIN = "import sys; from dreamer.cli import main; main()"
WAIT = 500
"""Seconds for processes that take ten, on a machine that does other things too."""
REFUSED = "--batch-size 5 cannot be shared equally by 2 processes: take a multiple of their number."
FAIL = """
import os, sys
from dreamer.agents.agent import Agent
whole, number = Agent.update, iter(range(100))
def update(self, *arguments):
    if os.environ["RANK"] == "1" and next(number) == 3:
        raise MemoryError("no memory left in the second process")
    return whole(self, *arguments)
Agent.update = update
"""


def _options(settings: Config) -> list[str]:
    """The command line of a run like `training.runs.config`: what differs from the preset."""
    preset, wanted = to_flat(debug()), to_flat(settings)
    differing = {name: value for name, value in wanted.items() if value != preset[name]}
    return [f"--{name.replace('_', '-')}={value}" for name, value in differing.items()]


def _command(logdir: Path, settings: Config) -> list[str]:
    return ["train", "--preset=debug", f"--logdir={logdir}", *_options(settings)]


def _start(logdir: Path, settings: Config, code: str = "") -> list[subprocess.Popen[str]]:
    """Two processes as `torchrun` starts them, rank 0 first; `code` runs before the command."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    environment = os.environ | meeting | {"WORLD_SIZE": "2", "PYTHONPATH": str(ROOT / "src")}
    return [
        subprocess.Popen(
            [sys.executable, "-c", code + TRAIN, *_command(logdir, settings)],
            env=environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for rank in range(2)
    ]


def _ends(processes: list[subprocess.Popen[str]]) -> tuple[list[int], list[str], list[str]]:
    """Status, output and errors of each."""
    try:
        said = [process.communicate(timeout=WAIT) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for pipe in filter(None, (process.stdout, process.stderr)):
                pipe.close()
    return [process.returncode for process in processes], [out for out, _ in said], [err for _, err in said]


def _assert_close(lines: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """The lines are equal up to rounding, which the few updates of these runs do not magnify yet."""
    assert [line.keys() for line in lines] == [line.keys() for line in expected]
    for line, other in zip(lines, expected, strict=True):
        assert line == {key: pytest.approx(value, rel=1e-3, abs=1e-3) for key, value in other.items()}


def test_two_processes_train_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dreamer.config.FINAL_EPISODES", 10)  # as in processes of their own
    settings = config(steps=300)
    status, out, err = _ends(_start(tmp_path / "two", settings))
    assert status == [0, 0], err
    assert "Done after 300 frames" in out[0]
    assert out[1] == err[1] == ""
    run(settings, tmp_path / "one")
    _assert_close(metrics(tmp_path / "two"), metrics(tmp_path / "one"))


@pytest.mark.slow
def test_torchrun_starts_stops_and_goes_on(tmp_path: Path) -> None:
    """Ctrl-C goes to `torchrun`, which sends it to all; rank 0 saves, and another call goes on."""
    settings, logdir = config(steps=1500, eval_every=0), tmp_path / "two"
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, "-m", "dreamer", *_command(logdir, settings)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    first = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while first.poll() is None and "model/loss" not in _read(logdir / "metrics.jsonl"):
        time.sleep(0.1)
    first.send_signal(signal.SIGINT)
    assert "The same command goes on from there" in first.communicate(timeout=WAIT)[0]
    second = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=WAIT, check=False
    )
    assert second.returncode == 0, second.stderr
    assert "Resuming" in second.stdout
    run(settings, tmp_path / "one")
    shared, alone = metrics(logdir), metrics(tmp_path / "one")
    assert [line["env_step"] for line in shared] == [line["env_step"] for line in alone]
    _assert_close(shared[:8], alone[:8])


def _read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


@pytest.mark.slow
def test_refused_run_ends_all_ranks(tmp_path: Path) -> None:
    status, _, err = _ends(_start(tmp_path / "run", config(batch_size=5)))
    assert status == [2, 0]
    assert err[0] == f"dreamer: {REFUSED}\n"
    assert err[1] == ""
    assert not (tmp_path / "run").exists()


def test_a_process_that_fails_ends_rank_0(tmp_path: Path) -> None:
    status, _, err = _ends(_start(tmp_path / "run", config(), FAIL))
    assert status[0] == 2, err[0]
    assert status[1]  # 1, or an abort of gloo, whose threads may still be waiting
    assert "MemoryError: no memory left in the second process" in err[1]
    assert "dreamer: Another process of this run has ended: look for its error above" in err[0]
    assert "Traceback" not in err[0]


# -- without processes -------------------------------------------------------------------------------------


class _TwoRanks(Ranks):
    """Rank 0 of two, of which the other does nothing."""

    def __init__(self) -> None:
        super().__init__(0, 2)
        self.messages: list[Any] = []

    def broadcast(self, message: Any = None) -> Any:
        self.messages.append(message)
        return message

    def scatter(self, batch: Batch) -> Batch:
        return {key: x.chunk(2)[0] for key, x in batch.items()}

    def all_reduce_mean(self, tensors: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        return tensors

    def all_equal(self, value: torch.Tensor) -> bool:
        return False


def _parallel(ranks: Ranks, **options: Any) -> Agent:
    return launch.make_parallel_agent(IMAGE, config(**options), ranks)


def test_a_process_alone_has_an_ordinary_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with launch.process_group(config()) as ranks:
        assert (ranks.rank, ranks.size, ranks.is_main) == (0, 1, True)
        assert type(_parallel(ranks)) is Agent


def test_rank_0_tells_the_others_what_to_do() -> None:
    ranks = _TwoRanks()
    agent = _parallel(ranks)
    assert agent.trainable
    agent.load_state_dict(agent.state_dict())
    assert [message[0] for message in ranks.messages] == ["start", "load"]


def test_weights_that_have_come_apart_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Agent, "update", lambda *_: {})
    agent = _parallel(_TwoRanks())
    with pytest.raises(RuntimeError, match="After 1 updates the processes no longer have the same weights"):
        agent.update({"action": torch.zeros(4, 2, 2)})
    for _ in range(launch.CHECK_EVERY - 1):
        agent.update({"action": torch.zeros(4, 2, 2)})
    with pytest.raises(RuntimeError, match=f"After {launch.CHECK_EVERY + 1} updates"):
        agent.update({"action": torch.zeros(4, 2, 2)})


def test_rows_that_cannot_be_shared_equally_are_refused() -> None:
    with pytest.raises(UserError, match=re.escape(REFUSED)):
        _parallel(_TwoRanks(), batch_size=5)


@pytest.mark.parametrize("objective", ["contrastive", "contrastive-tf1"])
def test_contrastive_objective_is_refused(objective: str) -> None:
    with pytest.raises(UserError, match=f"--objective {objective} compares all rows of a batch"):
        _parallel(_TwoRanks(), objective=objective)


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "pick_device", lambda _: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UserError, match="has 2 GPUs: start it with --nproc-per-node 2 at most"):
        launch._backend(config())


def test_ranks_together_draw_the_noise_of_one_process() -> None:
    alone = small_agent(pcont=True).draw_noise(4, 7)
    drawn = []
    for rank in range(2):
        drawn.append(RankAgent(IMAGE, small_config(pcont=True), Ranks(rank, 2)).draw_noise(2, 7))
    for key, dim in {"filter": 0, "action": 1, "state": 1}.items():
        assert torch.equal(torch.cat([noise[key] for noise in drawn], dim), alone[key])
