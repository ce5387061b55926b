"""Runs on Ray: the address, and a real cluster of two nodes on this machine, of which one is killed."""

import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from dreamer.errors import UserError
from dreamer.ray_cluster import with_address
from dreamer.sweep import cluster
from dreamer.sweep.process import Command
from sweep.commands import Commands, alive, ended, wait_until
from sweep.two_nodes import TwoNodes

RUNS = ("toy-dot-random-0", "toy-dot-random-1")


def test_address_may_be_left_out() -> None:
    assert with_address(["--ray"]) == ["--ray", "local"]
    assert with_address(["--ray", "--jobs", "2"]) == ["--ray", "local", "--jobs", "2"]
    assert with_address(["--ray", "10.0.0.1:6379"]) == ["--ray", "10.0.0.1:6379"]
    assert with_address(["--jobs", "2", "--ray=auto"]) == ["--jobs", "2", "--ray=auto"]


def test_missing_ray_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'dream-to-control\[ray\]'"):
        cluster.connect("local")


@pytest.mark.parametrize("port", [1, 70000])
def test_address_where_nothing_listens_is_refused_at_once(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False))
    with pytest.raises(
        UserError, match=f"No Ray cluster answers at 127.0.0.1:{port} .*: give the address of"
    ):
        cluster.connect(f"127.0.0.1:{port}")


def test_node_that_does_not_see_the_sweep_directory_says_so(tmp_path: Path) -> None:
    end = cluster.supervise(Command((), tmp_path / "elsewhere" / "run", 1, tmp_path))
    assert end.kind == "failed"
    assert f"does not see {tmp_path / 'elsewhere'}: put --out on a path that all nodes share" in end.reason


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(sys.platform != "linux", reason="finds the node of a process in /proc")
def test_run_of_a_killed_node_goes_on_at_another(two_nodes: TwoNodes, commands: Commands) -> None:
    """Also: Ctrl-C saves every run of a cluster, and the same command finishes them."""
    arguments = ("--tasks", "toy:dot", "--seeds", "2", "--ray", two_nodes.address)
    process = commands.start(*arguments, "--steps", "100000000")
    for run in RUNS:
        wait_until(lambda run=run: [*commands.directory.glob(f"{run}/checkpoint/step-*.pt")])
    first = commands.process_ids(RUNS[0])[-1]
    two_nodes.kill_node_of(first)
    wait_until(lambda: not alive(first))
    # Until it takes steps again: before, it has nothing to save.
    wait_until(lambda: "frames/s" in commands.log(RUNS[0]).partition("Resuming toy:dot")[2])
    process.send_signal(signal.SIGINT)
    status, output = ended(process)
    assert status == 130, output
    assert f"{RUNS[0]}: waiting, its worker or node failed" in output
    assert all(f"{run}: stopped (" in output for run in RUNS)
    assert all("saved in" in commands.log(run) for run in RUNS)

    status, output = commands.finish(*arguments, "--steps", "300")
    assert status == 0, output
    assert output.count(": done, return") == 2
