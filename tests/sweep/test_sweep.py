"""The loop, with a pool that does what a test says; and the command as a user types it."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import dreamer
from dreamer.errors import UserError
from dreamer.sweep import sweep
from dreamer.sweep.display import Display
from dreamer.sweep.plan import make_plan
from dreamer.sweep.process import Command, Exit
from dreamer.sweep.share import Share
from dreamer.sweep.status import Status
from dreamer.training.signals import Interrupt
from sweep.commands import Commands, alive, ended, wait_until

ENDED = Exit("ended")
DOT = "toy-dot-random-0"
KILLED = Exit("killed", "killed by SIGKILL")
FAILED = Exit("failed", "no such task")


class ScriptedPool:
    """Lets runs end as written down, one end for each time that they are started."""

    def __init__(
        self, ends: dict[str, Sequence[Exit]], jobs: int = 2, interrupt: Interrupt | None = None
    ) -> None:
        self.jobs, self.active, self.starts = jobs, set[str](), list[str]()
        self._ends = {name: list(exits) for name, exits in ends.items()}
        self._interrupt = interrupt
        self.asked = 0

    def start(self, command: Command) -> None:
        self.starts.append(command.logdir.name)
        self.active.add(command.logdir.name)
        assert len(self.active) <= self.jobs

    def begun(self, name: str) -> bool:
        return name in self.active

    def exits(self) -> dict[str, Exit]:
        if self._interrupt is not None and self.active and not self.asked:
            self._interrupt.requested = True
            return {}
        exits = {name: self._ends[name].pop(0) for name in self.active}
        self.active = set()
        return exits

    def ask_to_stop(self) -> None:
        self.asked += 1

    def close(self) -> None:
        pass


def work(
    tmp_path: Path, pool: ScriptedPool, complete: Sequence[str] = (), interrupt: Interrupt | None = None
) -> dict[str, tuple[str, str]]:
    """Let runs a, b and c be done; return state and reason of each. `complete` ones have a whole record."""
    names = ["a", "b", "c"]
    statuses = [Status(tmp_path / name, 100) for name in names]
    for name in complete:
        (tmp_path / name).mkdir()
        (tmp_path / name / "metrics.jsonl").write_text('{"env_step": 100, "eval/return": 5.0}\n')
    commands = {name: Command((), tmp_path / name, 1, tmp_path) for name in names}
    sweep.work(statuses, commands, pool, Display(statuses), interrupt or Interrupt())
    return {status.name: (status.state, status.reason) for status in statuses}


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "POLL_SECONDS", 0.0)


def test_sweep_goes_on_after_a_failure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pool = ScriptedPool({"a": [FAILED], "b": [ENDED], "c": [ENDED]})
    states = work(tmp_path, pool, complete="bc")
    assert states == {"a": ("failed", "no such task"), "b": ("done", ""), "c": ("done", "")}
    assert pool.starts == ["a", "b", "c"]
    assert "a: failed, no such task\n" in capsys.readouterr().out


def test_killed_run_goes_on(tmp_path: Path) -> None:
    pool = ScriptedPool({"a": [KILLED, ENDED], "b": [ENDED], "c": [ENDED]})
    assert {state for state, _ in work(tmp_path, pool, complete="abc").values()} == {"done"}
    assert sorted(pool.starts) == ["a", "a", "b", "c"]


def test_run_that_is_killed_without_getting_further_fails(tmp_path: Path) -> None:
    pool = ScriptedPool({"a": [KILLED] * 5, "b": [ENDED], "c": [ENDED]})
    assert work(tmp_path, pool, complete="bc")["a"] == ("failed", "killed by SIGKILL")
    assert pool.starts.count("a") == sweep.MOST_KILLS


def test_run_that_somebody_else_stopped_fails(tmp_path: Path) -> None:
    pool = ScriptedPool({"a": [ENDED], "b": [ENDED], "c": [ENDED]})
    states = work(tmp_path, pool, complete="bc")
    assert states["a"] == ("failed", "stopped before its end, but not by the sweep")


@pytest.mark.parametrize(("agent", "threads"), [("dreamer", ("--threads", "3")), ("a3c", ())])
def test_run_is_told_its_threads_if_its_agent_reads_them(
    agent: str, threads: tuple[str, ...], tmp_path: Path
) -> None:
    planned = make_plan("debug", ["toy:dot"], 1, (), ("--agent", agent))
    (command,) = [sweep._command(tmp_path, planned, run, Share(1, 3, 0)) for run in planned.runs]
    named = ("--agent", "a3c") if agent == "a3c" else ()
    assert command.arguments == ("--preset", "debug", "--env", "toy:dot", "--seed", "0", *named, *threads)
    assert command.threads == 3


def test_run_that_cannot_be_started_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = ScriptedPool({"b": [ENDED], "c": [ENDED]}, jobs=1)
    start = pool.start

    def refuse_a(command: Command) -> None:
        if command.logdir.name == "a":
            raise UserError("Cannot write a.log.")
        start(command)

    monkeypatch.setattr(pool, "start", refuse_a)
    states = work(tmp_path, pool, complete="bc")
    assert states == {"a": ("failed", "Cannot write a.log."), "b": ("done", ""), "c": ("done", "")}


def test_request_to_stop_reaches_every_run_once(tmp_path: Path) -> None:
    interrupt = Interrupt()
    pool = ScriptedPool(
        {"a": [ENDED], "b": [Exit("killed", "killed by SIGTERM")], "c": []}, interrupt=interrupt
    )
    states = work(tmp_path, pool, interrupt=interrupt)
    assert states == {"a": ("stopped", ""), "b": ("stopped", ""), "c": ("waiting", "")}
    assert pool.asked == 1


def test_sweep_itself_does_without_pytorch() -> None:
    """A sweep lasts for days, and PyTorch would have 200 MB of memory for all of them."""
    code = """if True:
        import sys
        sys.modules["torch"] = None
        from dreamer import presets
        presets.GPU_DEVICES = ()
        from dreamer.sweep import share, sweep
        print(share.this_machine().gpus)
    """
    environment = os.environ | {"PYTHONPATH": str(Path(dreamer.__file__).parents[1])}
    line = [sys.executable, "-c", code]
    result = subprocess.run(line, env=environment, check=False, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "0\n"), result.stderr


def test_sweep_ends_with_its_failures_and_repeats_nothing_that_is_done(commands: Commands) -> None:
    arguments = ["--tasks", "gym:no_such_module:It-v0,toy:dot", "--steps", "300", "--jobs", "2"]
    status, output = commands.finish(*arguments)
    assert status == 1, output
    assert "gym-no_such_module-It-v0-random-0: failed, " in output
    assert f"{DOT}: done, return " in output
    *_, failure, ending, report = output.splitlines()
    assert failure.startswith("gym-no_such_module-It-v0-random-0 failed: ")
    assert "no_such_module" in failure.partition("failed: ")[2]
    assert ending.startswith(f"1 of 2 runs done in {commands.directory}.")
    assert f"`dreamer report {commands.directory} --out report`" in report
    status, output = commands.finish(*arguments)
    assert status == 1
    assert output.startswith("1 of 2 runs done in ")
    assert len(commands.process_ids(DOT)) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a process with its parent")
def test_sweep_goes_on_after_a_run_was_killed_and_after_it_was_itself(commands: Commands) -> None:
    process = commands.start("--tasks", "toy:dot", "--steps", "100000000")
    wait_until(lambda: [*commands.directory.glob(f"{DOT}/checkpoint/step-*.pt")])
    os.kill(commands.process_ids(DOT)[-1], signal.SIGKILL)
    wait_until(lambda: commands.log(DOT).count("Resuming toy:dot") == 1)
    process.kill()
    _, output = ended(process)
    assert f"{DOT}: waiting, killed by SIGKILL" in output
    wait_until(lambda: not alive(commands.process_ids(DOT)[-1]))
    status, output = commands.finish("--tasks", "toy:dot", "--steps", "300")
    assert status == 0, output
    assert commands.log(DOT).count("Resuming toy:dot") == 2


def test_ctrl_c_saves_every_run(commands: Commands) -> None:
    process = commands.start("--tasks", "toy:dot", "--steps", "100000000", "--checkpoint-every", "100000000")
    wait_until((commands.directory / DOT / "metrics.jsonl").exists)
    process.send_signal(signal.SIGINT)
    status, output = ended(process)
    assert status == 130, output
    assert f"{DOT}: stopped (" in output
    assert f"0 of 1 runs done in {commands.directory}. The same command goes on" in output
    assert len([*commands.directory.glob(f"{DOT}/checkpoint/step-*.pt")]) == 1
