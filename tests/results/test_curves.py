import numpy as np
import pytest

from dreamer.errors import UserError
from dreamer.results.curves import over_seeds, read_metrics, read_run


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
    seeds = over_seeds(runs)
    assert seeds.env_step.tolist() == [1000, 2000, 3000]
    np.testing.assert_allclose(seeds.mean, [5, 60, 115])
    np.testing.assert_allclose(seeds.low, [0, 20, 30])
    np.testing.assert_allclose(seeds.high, [10, 100, 200])
    assert seeds.interval is None  # two seeds are too few


def test_interval_of_a_mean_is_that_of_the_bootstrap(make_run):
    """Of ten seeds, 0 or 100 alike, the mean of ten drawn is 10 times a binomial number: 20 to 80 with 97.9 %."""
    runs = [
        read_run(make_run(f"{n}", "dmc:walker_walk", {1000: 100.0 * (n % 2), 2000: 7.0}, n))
        for n in range(10)
    ]
    interval = over_seeds(runs).interval
    assert interval is not None
    low, high = interval
    assert (low[0], high[0]) == (20, 80)
    np.testing.assert_allclose([low[1], high[1]], 7)


def test_training_episodes_of_a_run(make_run):
    assert read_run(make_run("a", "dmc:walker_walk", {1000: 0.0})).train.tolist() == [[1500], [1]]


def test_directory_that_is_no_run_is_refused(tmp_path, make_run):
    with pytest.raises(UserError, match="is not a run directory"):
        read_run(tmp_path)
    with pytest.raises(UserError, match="no evaluation yet"):
        read_run(make_run("a", "dmc:walker_walk", {}))
    (tmp_path / "a" / "config.json").unlink()
    with pytest.raises(UserError, match=r"config\.json"):
        read_run(tmp_path / "a")
