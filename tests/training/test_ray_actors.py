"""D4PG's actors on a cluster: what they do, with what weights and noise, and what becomes of those that die.

`RayHere` stands for Ray, so that these tests take seconds; those marked `slow` have a real cluster.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import dreamer
from dreamer.config import Config, with_options
from dreamer.errors import UserError
from dreamer.presets import preset
from dreamer.ray_cluster import with_actors
from dreamer.replay.store import EpisodeStore
from dreamer.training.ray_actors import CORE, LITTLE, RayActors
from dreamer.training.trainer import Trainer
from sweep.commands import wait_until
from sweep.two_nodes import TwoNodes
from training.ray_here import RayHere
from training.runs import call_after, everything, metrics, same, tree

SAMPLES = Path(__file__).parents[1] / "envs"


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> RayHere:
    here = RayHere(cpus=2)
    monkeypatch.setitem(sys.modules, "ray", here)  # type: ignore[arg-type]
    return here


def config(**options: Any) -> Config:
    """A run of 400 frames of `toy:dot`: 8 episodes of 50 frames by two actors, the first 4 at random."""
    short = {"steps": 400, "time_limit": 50, "image_size": 32, "prefill": 200, "threads": 1, "device": "cpu"}
    schedule = {"train_every": 20, "train_steps": 2, "eval_every": 300, "checkpoint_every": 200}
    return with_actors(
        with_options(preset("debug", agent="d4pg"), short | schedule | {"num_envs": 2} | options)
    )


def run(
    settings: Config,
    logdir: Path,
    at: tuple[str, int] | None = None,
    then: Callable[[Trainer], object] | None = None,
) -> Trainer:
    """Train to the end; or call `then` when a method of the trainer was called so many times, by default to stop."""
    with closing(Trainer(settings, logdir, ray="local")) as trainer:
        if at is not None:
            stop = then or (lambda trainer: setattr(trainer.interrupt, "requested", True))
            call_after(trainer, *at, lambda: stop(trainer))
        trainer.run()
    return trainer


def exact(trainer: Trainer) -> bool:
    """Whether there were exactly as many updates as belong to the frames."""
    counters = trainer.counters
    return counters.grad_step == 2 * (1 + (counters.env_step - trainer.rounds.start) // 20)  # type: ignore[operator]


# -- what actors do --------------------------------------------------------------------------------------


def test_ratio_of_updates_to_frames_is_exact(ray: RayHere, tmp_path: Path) -> None:
    trainer = run(config(num_envs=3, steps=420), tmp_path)
    assert trainer.counters.env_step == trainer.counters.agent_step == 420
    assert exact(trainer)
    assert trainer.counters.grad_step == 2 * (1 + (420 - 201) // 20)
    assert sum(handle.commands.count("act") + handle.commands.count("step") for handle in ray.handles) == 420


def test_actors_have_their_shares_of_the_noise(ray: RayHere) -> None:
    actors = RayActors(config(num_envs=4, expl_noise=0.4), "local")
    assert [x.actor.config.behavior.expl_noise for x in ray.handles] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    drawn: list[list[np.ndarray]] = [[] for _ in range(4)]
    for index in range(4):
        actors.reset(index, seed=index)
    for _ in range(400):
        for handle in ray.handles:  # always in the middle, where the policy does the same
            handle.actor.obs = {"state": np.zeros(2, np.float32)}
        for index, (action, _) in enumerate(actors.act()):  # type: ignore[misc]
            drawn[index].append(action)
    # The standard error of a deviation from 800 draws is 2.5 %; clipping at 1 takes 2 % of the largest.
    assert [np.stack(x).std(0).mean() for x in drawn] == pytest.approx([0.1, 0.2, 0.3, 0.4], rel=0.12)


def test_random_episodes_are_those_of_a_run_without_ray(ray: RayHere, tmp_path: Path) -> None:
    run(config(), tmp_path / "ray")
    with closing(Trainer(config(), tmp_path / "here")) as trainer:
        trainer.run()
    ours, theirs = (tree(tmp_path / name / "replay") for name in ("ray", "here"))
    assert [*ours.items()][:4] == [*theirs.items()][:4]  # the prefill is over when they are


def test_weights_are_fresh_at_every_round(ray: RayHere, tmp_path: Path) -> None:
    """During the updates of a round, actors have the weights from before it."""
    before: list[dict[str, torch.Tensor]] = []
    with closing(Trainer(config(), tmp_path, ray="local")) as trainer:
        begin, collector = trainer.collector.begin_round, trainer.collector
        assert isinstance(trainer.envs, RayActors)

        def begin_round(end: int) -> None:
            weights = {key: x.clone() for key, x in trainer.agent.acting_state()["networks"].items()}
            over = collector.env_step >= collector.round_end and not collector._ahead  # type: ignore[union-attr]
            begin(end)
            before.extend([weights] if over else [])
            for handle in ray.handles:
                assert same(dict(handle.actor.agent.algorithm.state_dict()), before[-1])

        trainer.collector.begin_round = begin_round  # type: ignore[method-assign]
        trainer.run()
    # One round of 20 frames after the other; the one that would begin at the end has no frames.
    assert [handle.commands.count("load_weights") for handle in ray.handles] == [11, 11]
    assert not same(before[0], before[-1])


@pytest.mark.parametrize(
    ("options", "stop"),
    [({}, ("_interact", 131)), ({}, ("_update", 13)), ({"obs": "image"}, ("_interact", 131))],
    ids=str,
)
def test_stopping_changes_nothing(
    options: dict[str, Any], stop: tuple[str, int], ray: RayHere, tmp_path: Path
) -> None:
    settings = config(**options)
    whole = run(settings, tmp_path / "whole")
    stopped = run(settings, tmp_path / "parts", at=stop)
    assert stopped.counters.finished_at is None
    parts = run(settings, tmp_path / "parts")
    assert parts.resumed
    assert same(everything(whole), everything(parts))
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "parts")


def test_a_run_goes_on_without_ray_and_with_it_again(ray: RayHere, tmp_path: Path) -> None:
    run(config(), tmp_path, at=("_interact", 131))
    with closing(Trainer(config(), tmp_path)) as trainer:
        call_after(trainer, "_interact", 20, lambda: setattr(trainer.interrupt, "requested", True))
        trainer.run()
        assert 300 < trainer.counters.env_step < 400
    trainer = run(config(), tmp_path)
    assert trainer.resumed
    assert trainer.counters.finished_at == 400
    assert exact(trainer)
    lengths = {line["train/length"] for line in metrics(tmp_path) if "train/length" in line}
    assert lengths == {50}  # no episode began anew


# -- actors that die -------------------------------------------------------------------------------------


def test_a_killed_actor_is_replaced(ray: RayHere, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    trainer = run(config(), tmp_path, at=("_interact", 163), then=lambda _: ray.kill(ray.handles[1]))
    assert trainer.counters.finished_at is not None
    assert exact(trainer)
    assert trainer.counters.env_failures == 1
    assert "The actor of environment 1 (toy:dot, on Ray) ended in act" in caplog.text
    assert "Another episode begins (failure 1 of at most 10 in a row)" in caplog.text
    *_, successor = ray.handles
    assert len(ray.handles) == 3
    assert [handle.options["num_cpus"] for handle in ray.handles] == [CORE, CORE, LITTLE]
    assert successor.commands[:3] == ["start", "load_weights", "reset"]
    assert successor.actor.config.behavior.expl_noise == pytest.approx(0.3)
    store = EpisodeStore(tmp_path / "replay", mode="r")
    assert sorted(store.lengths.tolist())[0] < 51  # what the dead one has seen is kept


@pytest.mark.parametrize("method", ["_update", "_save"])
def test_an_actor_that_dies_between_two_steps_is_missed_at_its_next(
    method: str, ray: RayHere, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Here also between two episodes: it is told what weights to take, and asked for its state, when it is dead."""
    schedule = {"prefill": 100, "train_every": 100, "checkpoint_every": 100}
    trainer = run(config(**schedule), tmp_path, at=(method, 2), then=lambda _: ray.kill(ray.handles[1]))
    assert trainer.counters.finished_at in (400, 401)  # the dead one's step is missing
    assert trainer.counters.env_failures == 1
    assert "The actor of environment 1 (toy:dot, on Ray) ended in " in caplog.text


def test_an_actor_that_hangs_is_replaced(ray: RayHere, tmp_path: Path, caplog) -> None:
    def hang(_: Trainer) -> None:
        ray.handles[0].silent = True

    trainer = run(config(), tmp_path, at=("_interact", 163), then=hang)
    assert trainer.counters.finished_at is not None
    assert exact(trainer)
    assert "Environment 0 (toy:dot, on Ray) was silent for 120 s in act" in caplog.text
    assert not ray.handles[0].alive


def test_environments_that_raise_are_survived(ray: RayHere, tmp_path: Path, monkeypatch, caplog) -> None:
    monkeypatch.syspath_prepend(str(SAMPLES))
    trainer = run(config(env="gym:sample_environments:Fragile-raise-v0", action_repeat=1), tmp_path)
    assert trainer.counters.env_failures > 0
    assert trainer.counters.finished_at is not None
    assert "(its traceback is in Ray's logs)" not in caplog.text  # the environment's cause is a sentence


def test_an_environment_that_cannot_be_made_is_refused(ray: RayHere, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no toy environment 'nowhere'"):
        Trainer(config(env="toy:nowhere"), tmp_path / "run", ray="local")
    assert not (tmp_path / "run").exists()
    assert not any(handle.alive for handle in ray.handles)


def test_more_actors_than_cores_take_little_of_them(ray: RayHere) -> None:
    RayActors(config(num_envs=3), "local").close()
    assert [handle.options["num_cpus"] for handle in ray.handles] == [LITTLE] * 3
    assert not any(handle.alive for handle in ray.handles)


@pytest.mark.parametrize("agent", ["dreamer", "a3c", "random"])
def test_other_agents_are_refused_by_name(agent: str) -> None:
    with pytest.raises(UserError, match=f"not for --agent {agent}: leave it out"):
        with_actors(with_options(Config(), {"agent": agent}))


# -- a real cluster --------------------------------------------------------------------------------------


@contextmanager
def learning(logdir: Path, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Start `dreamer train` with two actors on a cluster, and kill it at the end of the block."""
    line = [sys.executable, "-m", "dreamer", "train", "--agent", "d4pg", "--preset", "debug", "--num-envs", 2]
    line += ["--time-limit", 50, "--checkpoint-every", 200, "--eval-every", 0, "--threads", 1]
    path = str(Path(dreamer.__file__).parents[1])
    with subprocess.Popen(
        [*map(str, line), "--logdir", str(logdir), *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="finds the processes of actors in /proc")
def test_killed_actors_nodes_and_learners_end_no_run(two_nodes: TwoNodes, tmp_path: Path) -> None:
    def saved() -> int:
        return max((int(x.name.split("-")[1]) for x in tmp_path.glob("run/checkpoint/step-*.pt")), default=0)

    def actors() -> list[int]:
        return two_nodes.processes("ray::Actor")

    def gets_on() -> None:
        at = saved()
        wait_until(lambda: saved() > at, 300)

    where = (tmp_path / "run", "--ray", two_nodes.address, "--steps")
    with learning(*where, 10**8) as learner:
        gets_on()
        one, other = actors()
        os.kill(one, signal.SIGKILL)
        wait_until(lambda: len(actors()) == 2 and one not in actors(), 300)
        gets_on()
        two_nodes.kill_node_of(other)
        wait_until(lambda: len(actors()) == 2 and other not in actors(), 300)
        gets_on()
        learner.kill()
        output = learner.communicate()[0]
    assert "actors   2 on Ray, on 3 nodes" in output
    assert output.count("Another episode begins") >= 2, output
    wait_until(lambda: not actors())

    steps = 1000 * (saved() // 1000 + 1)
    with learning(*where, steps) as again:
        output = again.communicate(timeout=500)[0]
        assert again.returncode == 0, output
    assert "Resuming toy:dot" in output
    last = metrics(tmp_path / "run")[-1]
    assert last["env_step"] in (steps, steps + 1)  # a dead actor's step is missing
    begun = min(line["env_step"] for line in metrics(tmp_path / "run") if "value/loss" in line)
    assert last["grad_step"] == 2 * (1 + (last["env_step"] - begun) // 100)
    assert not actors()
