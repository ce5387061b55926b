import numpy as np
import pytest

from dreamer.errors import UserError
from dreamer.results.curves import by_task, over_seeds, read_metrics, read_run


def test_evaluations_of_a_run_that_was_killed_within_a_line(make_run):
    run = read_run(
        make_run("a", "dmc:cup_catch", {1000: 1.0, 2000: 3.0}, seed=7, tail='{"env_step": 3000, "eval/ret')
    )
    assert (run.task, run.seed, run.seconds) == ("ball_in_cup_catch", 7, 200.0)
    assert run.env_step.tolist() == [1000, 2000]
    assert run.mean.tolist() == [1.0, 3.0]


def test_broken_line_in_the_middle_is_named(make_run):
    path = make_run("a", "dmc:walker_walk", {1000: 1.0}, tail='{"env\n{"env_step": 2000}\n')
    with pytest.raises(UserError, match="Line 3"):
        read_metrics(path)


def test_mean_over_seeds_covers_the_frames_that_all_reached(make_run):
    runs = [
        read_run(make_run("b", "dmc:walker_walk", {1000: 0.0, 2000: 100.0, 4000: 300.0}, seed=1)),
        read_run(make_run("a", "dmc:walker_walk", {1000: 10.0, 3000: 30.0}, seed=0)),
    ]
    assert [run.seed for run in by_task(runs)["walker_walk"]] == [0, 1]
    seeds = over_seeds(runs)
    assert seeds.env_step.tolist() == [1000, 2000, 3000]
    np.testing.assert_allclose(seeds.mean, [5, 60, 115])
    np.testing.assert_allclose(seeds.low, [0, 20, 30])
    np.testing.assert_allclose(seeds.high, [10, 100, 200])


def test_directory_that_is_no_run_is_refused(tmp_path, make_run):
    with pytest.raises(UserError, match="is not a run directory"):
        read_run(tmp_path)
    with pytest.raises(UserError, match="no evaluation yet"):
        read_run(make_run("a", "dmc:walker_walk", {}))
    (tmp_path / "a" / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json"):
        read_run(tmp_path / "a")
