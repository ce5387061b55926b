import numpy as np
import pytest

from dreamer.errors import UserError
from dreamer.results.curves import read_run
from dreamer.results.scores import append_run, read_method, read_scores

CURVE = {1000: 12.3456, 2000: 250.0}


@pytest.fixture
def scores(tmp_path):
    return tmp_path / "scores" / "dreamer_laptop.csv"


def test_csv_of_two_tasks_is_sorted(make_run, scores):
    append_run(make_run("w1", "dmc:walker_stand", CURVE, seed=1), scores)
    append_run(make_run("w0", "dmc:walker_stand", {2000: 300.0}, seed=0, action_repeat=2), scores)
    append_run(make_run("c", "dmc:cup_catch", {2000: 0.0}, seed=0, action_repeat=4), scores)
    assert scores.read_text().splitlines() == [
        "task,seed,env_step,return",
        "ball_in_cup_catch,0,2000,0.0",
        "walker_stand,0,2000,300.0",
        "walker_stand,1,1000,12.346",
        "walker_stand,1,2000,250.0",
    ]


def test_scores_round_trip(make_run, scores):
    run = make_run("a", "dmc:walker_stand", CURVE, seed=3, units=200)
    append_run(run, scores)
    (read,), written = read_scores(scores), read_run(run)
    assert (read.task, read.seed, read.episodes, read.std) == ("walker_stand", 3, 10, 20.0)
    np.testing.assert_array_equal(read.env_step, written.env_step)
    np.testing.assert_allclose(read.mean, written.mean, atol=5e-4)
    assert read.seconds == pytest.approx(200, rel=5e-3)


def test_method_says_how_the_runs_were_made(make_run, scores):
    texts = {"command": "dreamer train --env dmc:TASK", "commit": "0123abc", "hardware": "one core"}
    append_run(make_run("a", "dmc:walker_stand", CURVE, seed=1, units=200, threads=1), scores, **texts)
    append_run(make_run("b", "dmc:walker_stand", CURVE, seed=0, units=200, threads=2), scores)
    method = read_method(scores)
    assert (method.command, method.commit, method.hardware) == tuple(texts.values())
    assert [(run["seed"], run["episodes"], run["hours"]) for run in method.runs] == [
        (0, 10, 0.0556),
        (1, 10, 0.0556),
    ]
    assert method.options == {"env_args": [], "units": 200}  # a run of before this option, in today's form


def test_run_of_the_same_seed_is_replaced(make_run, scores):
    append_run(make_run("a", "dmc:walker_stand", CURVE), scores)
    append_run(make_run("b", "dmc:walker_stand", {2000: 300.0}), scores)
    (run,) = read_scores(scores)
    assert run.mean.tolist() == [300.0]
    assert len(read_method(scores).runs) == 1


def test_run_with_other_options_is_refused(make_run, scores):
    append_run(make_run("a", "dmc:walker_stand", CURVE, seed=0, units=200), scores)
    before = scores.read_bytes()
    with pytest.raises(UserError, match="units 400 instead of 200"):
        append_run(make_run("b", "dmc:walker_stand", CURVE, seed=1, units=400), scores)
    assert scores.read_bytes() == before


def test_unfinished_run_is_refused(make_run, scores):
    with pytest.raises(UserError, match="2,000 of 5,000 frames"):
        append_run(make_run("a", "dmc:walker_stand", CURVE, steps=5000), scores)
    assert not scores.exists()


def test_run_without_evaluation_is_refused(tmp_path, make_run, scores):
    with pytest.raises(UserError, match="is not a run directory"):
        append_run(tmp_path, scores)
    with pytest.raises(UserError, match="no evaluation yet"):
        append_run(make_run("a", "dmc:walker_stand", {}), scores)


def test_name_of_a_scores_file_ends_in_csv(make_run, tmp_path):
    with pytest.raises(UserError, match=r"\.csv"):
        append_run(make_run("a", "dmc:walker_stand", CURVE), tmp_path / "a.json")


def test_place_that_cannot_be_written_is_a_sentence(make_run, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"Cannot write .*choose another --out"):
        append_run(make_run("a", "dmc:walker_stand", CURVE), tmp_path / "file" / "a.csv")


HEAD = "task,seed,env_step,return\n"


@pytest.mark.parametrize(
    "text", ["", "task,seed,step\n", HEAD + "walker_stand,0,1000\n", HEAD + "walker_stand,zero,1000,1\n"]
)
def test_other_csv_files_are_refused(text, scores):
    scores.parent.mkdir()
    scores.write_text(text)
    with pytest.raises(UserError, match="columns task, seed, env_step, return"):
        read_scores(scores)


def test_broken_json_is_refused(make_run, scores):
    append_run(make_run("a", "dmc:walker_stand", CURVE), scores)
    scores.with_suffix(".json").write_text('{"command"')
    with pytest.raises(UserError, match=r"dreamer_laptop\.json cannot be read"):
        read_scores(scores)


def test_csv_alone_is_read(scores):
    scores.parent.mkdir()
    scores.write_text("task,seed,env_step,return\nwalker_stand,0,2000,5\nwalker_stand,0,1000,4\n")
    (run,) = read_scores(scores)
    assert run.mean.tolist() == [4, 5]
    assert np.isnan(run.seconds)


@pytest.mark.parametrize("number", ["nan", "inf", "1e308", "-1e200"])
def test_numbers_that_no_curve_can_have_are_refused(number, tmp_path):
    scores = tmp_path / "a.csv"
    scores.write_text(f"task,seed,env_step,return\nwalker_walk,0,1000,{number}\n")
    with pytest.raises(UserError, match="is not a scores file"):
        read_scores(scores)
