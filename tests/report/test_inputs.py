import json

import pytest

from dreamer.errors import UserError
from dreamer.results.inputs import find_runs, read_inputs
from dreamer.results.scores import append_run


def test_runs_that_differ_in_seed_task_and_action_repeat_are_one_method(make_run, curve):
    paths = [
        make_run("a", "walker_stand", curve(1.0), seed=1, action_repeat=2),
        make_run("b", "walker_stand", curve(1.0), seed=0, action_repeat=2),
        make_run("c", "cartpole_balance", curve(1.0), seed=0, action_repeat=4, threads=7),
    ]
    (method,) = read_inputs(paths).methods
    assert method.name == "ours"
    groups = method.by_task()
    assert {task: [run.seed for run in runs] for task, runs in groups.items()} == {
        "cartpole_balance": [0],
        "walker_stand": [0, 1],
    }


def test_methods_are_named_by_what_differs(make_run, curve):
    paths = [
        make_run(agent, "walker_stand", curve(1.0), agent=agent, gamma=0.9) for agent in ("dreamer", "planet")
    ]
    assert [method.name for method in read_inputs(paths).methods] == ["dreamer", "planet"]


def test_sweep_names_its_methods_and_what_is_missing(make_run, curve, tmp_path):
    names = [
        "walker_stand-planet-0",
        "walker_stand-dreamer-0",
        *(f"walker_stand-dreamer-{i}" for i in range(1, 6)),
    ]
    for name in names[:2]:
        agent = name.split("-")[1]
        make_run(f"sweep/{name}", "walker_stand", curve(1.0), agent=agent)
    planned = [{"name": name, "variant": name.split("-")[1]} for name in names]
    (tmp_path / "sweep" / "sweep.json").write_text(json.dumps({"version": 1, "runs": planned}))
    inputs = read_inputs([tmp_path / "sweep"])
    assert {method.name for method in inputs.methods} == {"planet", "dreamer"}
    rest = "walker_stand-dreamer-1, walker_stand-dreamer-2, walker_stand-dreamer-3 and 2 more"
    assert inputs.notes == (f"{tmp_path / 'sweep'} has 2 of its 7 runs so far; not yet: {rest}.",)


def test_damaged_sweep_file_leaves_its_runs_readable(make_run, curve, tmp_path):
    make_run("sweep/a", "walker_stand", curve(1.0))
    (tmp_path / "sweep" / "sweep.json").write_text("{")
    assert len(read_inputs([tmp_path / "sweep"]).methods[0].runs) == 1


def test_run_that_is_named_twice_counts_once(make_run, curve, tmp_path):
    run = make_run("runs/a", "walker_stand", curve(1.0))
    assert len(read_inputs([run, tmp_path / "runs", run]).methods[0].runs) == 1


def test_same_seed_twice_is_said(make_run, curve):
    paths = [make_run(name, "walker_stand", curve(1.0)) for name in "ab"]
    assert read_inputs(paths).notes == (
        "ours has 2 runs of walker_stand with seed 0: each counts as a seed of its own.",
    )


def test_scores_file_is_a_method_with_its_record(make_run, curve, tmp_path):
    scores = tmp_path / "dreamer_laptop.csv"
    append_run(
        make_run("a", "walker_stand", curve(1.0)),
        scores,
        "dreamer train",
        "abc",
        "a laptop",
        ["walker_stand"],
    )
    other = make_run("b", "walker_stand", curve(2.0), seed=1)
    file, run = sorted(read_inputs([scores, other]).methods, key=lambda method: method.name)
    made = "dreamer laptop", "dreamer train", "abc", "a laptop", ("walker_stand",)
    assert (file.name, file.command, file.commit, file.hardware, file.tuned_on) == made
    assert run.name == "ours"


def test_what_cannot_be_read_is_noted_and_the_rest_is_read(make_run, curve, tmp_path):
    good = make_run("good", "walker_stand", curve(1.0), tail='{"env_step": "x"}\n[]\n{"env_step": 1}\n')
    young = make_run("young", "walker_stand", {})
    (tmp_path / "empty").mkdir()
    (tmp_path / "no.csv").write_text("a,b\n")
    broken = make_run("broken", "walker_stand", curve(1.0))
    (broken / "config.json").write_text("[]")
    inputs = read_inputs([good, young, tmp_path / "empty", tmp_path / "gone", broken, tmp_path / "no.csv"])
    assert [run.path for run in inputs.methods[0].runs] == [good]
    words = [
        "metrics.jsonl, the first of them 12, cannot be read and are left out",
        "no evaluation yet",
        "empty is not a run directory",
        "gone is not a run directory",
    ]
    words += ["config.json cannot be read", "no.csv is not a scores file"]
    for word, note in zip(words, inputs.notes, strict=True):
        assert word in note


def test_nothing_that_can_be_read_is_a_sentence(make_run, tmp_path):
    with pytest.raises(UserError, match="Nothing to show"):
        read_inputs([])
    with pytest.raises(UserError, match="is not a run directory and contains none"):
        read_inputs([tmp_path])
    with pytest.raises(UserError, match="no evaluation yet"):
        read_inputs([make_run("a", "walker_stand", {})])
    with pytest.raises(UserError, match=r"2 more cannot be read\.$"):
        read_inputs([tmp_path / str(number) for number in range(5)])


def test_runs_are_found_three_levels_down_and_not_within_runs(make_run, curve, tmp_path):
    make_run("x/y/z", "walker_stand", curve(1.0))
    make_run("x/y/z/inner", "walker_stand", curve(1.0))
    make_run("x/y/deep/er/run", "walker_stand", curve(1.0))
    assert find_runs(tmp_path) == [tmp_path / "x/y/z"]
