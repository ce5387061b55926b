"""Which runs there are, and `sweep.json`."""

import errno
import json
import os
from fnmatch import fnmatch
from pathlib import Path

import pytest
import tyro

from dreamer.cli.options import starting_point
from dreamer.config import Config, from_flat, to_flat, with_options
from dreamer.errors import UserError
from dreamer.presets import laptop, preset
from dreamer.sweep.plan import Plan, load_plan, make_plan, sweep_directory


def plan(
    *training: str, tasks: str = "toy:dot,toy:slope", seeds: int = 2, axes: tuple[str, ...] = ()
) -> Plan:
    return make_plan("debug", tasks.split(","), seeds, axes, training)


def names(of: Plan) -> list[str]:
    return [run.name for run in of.runs]


def keep(path: Path, of: Plan, begun: str = "*") -> None:
    """Keep a plan in a directory, and begin its runs with such names."""
    with sweep_directory(path, of):
        for run in of.runs:
            if fnmatch(run.name, begun):
                (path / run.name).mkdir(exist_ok=True)


def test_runs_are_tasks_by_variants_by_seeds() -> None:
    found = plan(axes=("agent=dreamer,planet", "lambda=0.9"), seeds=2)
    assert names(found) == [
        "toy-dot-dreamer,lambda=0.9-0",
        "toy-dot-planet,lambda=0.9-0",
        "toy-slope-dreamer,lambda=0.9-0",
        "toy-slope-planet,lambda=0.9-0",
        "toy-dot-dreamer,lambda=0.9-1",
        "toy-dot-planet,lambda=0.9-1",
        "toy-slope-dreamer,lambda=0.9-1",
        "toy-slope-planet,lambda=0.9-1",
    ]
    last = found.runs[-1]
    assert (last.task, last.variant, last.seed) == ("toy-slope", "planet,lambda=0.9", 1)
    assert found.config(last).behavior.agent == "planet"
    assert found.config(last).behavior.lambda_ == 0.9


def test_name_of_a_run_is_one_directory() -> None:
    made = make_plan("debug", ["gym:a/b-v0"], 1, ("env_args=map=../../x",), ())
    assert names(made) == ["gym-a-b-v0-env_args=map=..-..-x-0"]


@pytest.mark.parametrize(
    ("tasks", "axes"),
    [("dmc:cup_catch,dmc:ball_in_cup_catch", ()), ("gym:a/b-v0", ("env_args=map=x/y,map=x-y",))],
)
def test_runs_of_the_same_name_are_refused(tasks: str, axes: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="Two runs would have the directory"):
        plan(tasks=tasks, axes=axes)


def test_seeds_count_up_from_the_first() -> None:
    assert [run.seed for run in plan("--seed", "7", tasks="toy:dot", seeds=3).runs] == [7, 8, 9]


def test_options_of_a_run_are_those_that_differ_from_the_preset() -> None:
    (run,) = plan(
        "--no-fast", "--horizon", "5", "--steps", "300", tasks="toy:dot", seeds=1
    ).runs  # horizon: as it is
    assert run.options == {"env": "toy:dot", "seed": 0, "steps": 300, "fast": False}


def test_arguments_give_the_same_options_to_a_run() -> None:
    pytest.importorskip("ale_py")
    training = ["--no-fast", "--camera", "-1", "--lambda", "0.3", "--threads", "3", "--model-lr", "1e-5"]
    axes = ("env_args=sticky=0,life_loss=False", "num-envs=2")
    for tasks in (["gym:Pendulum-v1"], ["atari:pong"]):
        made = make_plan("laptop", tasks, 1, axes, training)
        for run in made.runs:
            assert "--threads" not in run.arguments
            words, start = [*run.arguments, "--threads", "3"], preset("laptop", run.options["env"])
            again = tyro.cli(tyro.conf.OmitArgPrefixes[Config], args=words, default=start)
            assert again == made.config(run)


def test_presets_follow_the_task() -> None:
    pytest.importorskip("ale_py")
    made = make_plan("laptop", ["dmc:walker_walk", "atari:pong"], 1, (), ())
    walker, pong = (made.config(run) for run in made.runs)
    assert walker.environment.action_repeat == laptop().environment.action_repeat == "auto"
    assert (pong.environment.action_repeat, pong.behavior.horizon) == (4, 10)


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        (("agnt=a,b",), "--sweep agnt=...: there is no such option .did you mean agent"),
        (("agent=",), "--sweep agent= has no values"),
        (("agent",), "--sweep agent has no values"),
        (("seed=0,1",), "--sweep takes no seed: give --seeds"),
        (("env=toy:dot",), "--sweep takes no env: give --tasks"),
        (("agent=planet", "agent=dreamer"), "given twice"),
        (("horizon=15,1",), "--horizon must be at least 2, got 1"),
    ],
)
def test_axes_that_no_run_can_have_are_refused(axes: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        plan(axes=axes)


def test_options_that_a_sweep_sets_itself_are_refused() -> None:
    with pytest.raises(UserError, match="A sweep has no --env: give --tasks"):
        plan("--env=toy:dot")
    with pytest.raises(UserError, match="A sweep has no --logdir: give --out"):
        plan("--logdir", "x")
    with pytest.raises(UserError, match="--seeds must be at least 1, got 0"):
        plan(seeds=0)


def test_agents_with_presets_of_their_own_start_from_these(tmp_path: Path) -> None:
    made = plan("--gamma", "0.9", axes=("agent=dreamer,d4pg,a3c",), tasks="toy:dot", seeds=1)
    keep(tmp_path, made)
    for run in load_plan(tmp_path).runs:
        agent = run.variant
        expected = with_options(preset("debug", agent=agent), {"gamma": 0.9, "env": "toy:dot"})
        assert made.config(run) == expected
        start = starting_point("debug", env="toy:dot", agent=agent).options  # as `dreamer train` does
        read = tyro.cli(tyro.conf.OmitArgPrefixes[Config], args=run.arguments, default=start)
        assert read == expected


def test_options_of_one_agent_can_be_an_axis() -> None:
    made = plan("--agent", "d4pg", axes=("n-step=1,3",), tasks="toy:dot", seeds=1)
    assert names(made) == ["toy-dot-n_step=1-0", "toy-dot-n_step=3-0"]
    assert [to_flat(made.config(run))["n_step"] for run in made.runs] == [1, 3]


def test_plan_round_trip(tmp_path: Path) -> None:
    made = plan("--kl-scale", "0.5", axes=("agent=dreamer,random",))
    keep(tmp_path / "sweep", made)
    assert load_plan(tmp_path / "sweep") == made
    saved = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert (saved["version"], saved["preset"], len(saved["runs"])) == (1, "debug", 8)
    config = made.config(made.runs[0])
    assert from_flat(to_flat(config)) == config


def test_sweep_grows_and_changes_its_length(tmp_path: Path) -> None:
    keep(tmp_path, plan("--steps", "300", tasks="toy:dot", seeds=1))
    larger = plan("--steps", "400", "--threads", "1", seeds=3, axes=("agent=random,dreamer",))
    keep(tmp_path, larger)
    assert load_plan(tmp_path) == larger


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        (plan("--horizon", "7"), r"another sweep \(horizon was 5, now 7\): choose another --out"),
        (plan("--model-lr", "0.1"), r"\(model_lr was 0.0006, now 0.1\)"),
        (plan(tasks="toy:dot"), r"\(toy-slope-dreamer-0 has begun, toy-slope-dreamer-1 has begun\)"),
        (plan(seeds=1), r"\(toy-dot-dreamer-1 has begun, toy-slope-dreamer-1 has begun\)"),
        (make_plan("paper", ["toy:dot", "toy:slope"], 2, (), ()), r"\(the preset was debug, now paper\)"),
    ],
)
def test_another_sweep_is_refused_and_changes_nothing(tmp_path: Path, other: Plan, sentence: str) -> None:
    keep(tmp_path, plan())
    before = (tmp_path / "sweep.json").read_bytes()
    with pytest.raises(UserError, match=sentence):
        keep(tmp_path, other)
    assert (tmp_path / "sweep.json").read_bytes() == before


def test_runs_that_have_not_begun_bind_nobody(tmp_path: Path) -> None:
    keep(tmp_path, plan(), begun="")
    other = make_plan("paper", ["toy:dot", "gym:Typo-v0"], 1, (), ("--horizon", "7"))
    keep(tmp_path, other, begun="toy-*")
    assert load_plan(tmp_path) == other
    right = make_plan("paper", ["toy:dot", "toy:slope"], 1, (), ("--horizon", "7"))
    keep(tmp_path, right)
    assert load_plan(tmp_path) == right
    with pytest.raises(UserError, match="holds another sweep"):
        keep(tmp_path, plan())


def test_directory_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for path in (tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(UserError, match="exists and is not a sweep directory"):
            keep(path, plan())
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_directory_that_a_kill_left_half_made_is_taken(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / "sweep.json.tmp").touch()
    keep(tmp_path, plan())
    assert load_plan(tmp_path) == plan()


def test_second_process_is_refused(tmp_path: Path) -> None:
    with (
        sweep_directory(tmp_path, plan()),
        pytest.raises(UserError, match="Another process runs the sweep"),
    ):
        keep(tmp_path, plan())
    keep(tmp_path, plan())


def damaged(**values: object) -> str:
    """A `sweep.json` with these values in its only run."""
    run = {"name": "a", "task": "dot", "variant": "dreamer", "seed": 0, "options": {"env": "toy:dot"}}
    return json.dumps({"version": 1, "preset": "debug", "runs": [run | values]})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "cannot be read"),
        ('{"version": 1, "preset": "debug"}', "cannot be read"),
        ('{"version": 1, "preset": "debug", "runs": [{"nome": 1}]}', "cannot be read"),
        (damaged(name=None), "cannot be read"),
        (damaged(options=[]), "cannot be read"),
        (damaged(options={"env": None}), "cannot be read"),
        ('{"version": 2}', "has version 2"),
    ],
)
def test_damaged_plan_is_refused(tmp_path: Path, content: str, sentence: str) -> None:
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(UserError, match=sentence):
        keep(tmp_path, plan())
    assert (tmp_path / "sweep.json").read_text() == content


def test_plan_with_options_of_another_version_is_refused(tmp_path: Path) -> None:
    keep(tmp_path, plan())
    path = tmp_path / "sweep.json"
    path.write_text(path.read_text().replace('"seed": 0\n', '"seed": 0, "warp": 9\n'))
    with pytest.raises(UserError, match="toy-dot-dreamer-0 has unknown options: warp"):
        keep(tmp_path, plan())


def test_full_disk_is_one_sentence_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep(tmp_path, plan())

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UserError, match=r"Cannot write .*sweep\.json \(No space left on device\)"):
        keep(tmp_path, plan(seeds=3))
    assert load_plan(tmp_path) == plan()
