"""Reference numbers are those of rliable 1.2.0, its intervals with 20,000, 3000 and 5000 draws."""

import itertools

import numpy as np
import pytest

from dreamer.report.aggregate import (
    above,
    aggregates,
    estimate,
    estimate_improvement,
    improvement,
    iqm,
    mean,
    profile,
    resampled,
)
from dreamer.report.compare import official_at
from dreamer.results.inputs import read_inputs

# (seeds, tasks)
X = np.array(
    [
        [0.625, 0.897, 0.776, 0.225, 0.3, 0.874],
        [0.005, 0.821, 0.797, 0.468, 0.303, 0.278],
        [0.255, 0.445, 0.505, 0.553, 0.996, 0.793],
        [0.622, 0.989, 0.215, 0.16, 0.613, 0.044],
    ]
)
Y = np.array(
    [
        [0.007, 0.369, 0.318, 0.878, 0.499, 0.369],
        [0.35, 0.123, 0.001, 0.084, 0.576, 0.09],
        [0.225, 0.0, 0.756, 0.061, 0.138, 0.826],
        [0.364, 0.78, 0.512, 0.639, 0.028, 0.398],
        [0.362, 0.813, 0.217, 0.463, 0.014, 0.241],
    ]
)
# A percentile of 2000 draws lies within 0.02 of that of many.
DRAWS = 0.02


def test_interquartile_mean_and_mean_match_the_reference():
    scores = list(X.T)
    found = estimate(iqm, scores)
    assert found.value == pytest.approx(0.52341667)
    assert found.interval == pytest.approx((0.37474792, 0.66791667), abs=DRAWS)
    found = estimate(mean, scores)
    assert found.value == pytest.approx(0.52329167)
    assert found.interval == pytest.approx((0.41979167, 0.624375), abs=DRAWS)


def test_probability_of_improvement_matches_the_reference():
    found = estimate_improvement(list(X.T), list(Y.T))
    assert found.value == pytest.approx(0.675)
    assert found.interval == pytest.approx((0.51666667, 0.81666667), abs=DRAWS)


def test_performance_profile_matches_the_reference():
    thresholds = np.array([0.1, 0.5, 0.9])
    np.testing.assert_allclose(above(list(X.T), thresholds), [0.91666667, 0.54166667, 0.08333333])
    drawn = above(resampled(list(X.T)), thresholds)
    np.testing.assert_allclose(np.percentile(drawn, 2.5, axis=0), [0.79166667, 0.375, 0], atol=0.042)
    np.testing.assert_allclose(np.percentile(drawn, 97.5, axis=0), [1, 0.70833333, 0.20833333], atol=0.042)


def test_tie_is_half_an_improvement():
    assert improvement([np.array([[0.5]])], [np.array([[0.5, 0.2]])]) == pytest.approx(0.75)


def test_task_with_more_seeds_weighs_no_more():
    few, many = np.array([0.0, 0.0, 0.0]), np.full(30, 0.8)
    assert mean([few, many]) == pytest.approx(0.4)
    assert iqm([few[None], many[None]]) == pytest.approx(0.4)
    assert above([few, many], np.array([0.5])) == pytest.approx(0.5)


def test_seeds_are_drawn_within_their_task():
    drawn = resampled([np.array([0.0, 1.0]), np.array([10.0, 11.0, 12.0])])
    assert [task.shape for task in drawn] == [(2000, 2), (2000, 3)]
    assert set(np.unique(drawn[0])) == {0.0, 1.0}
    assert set(np.unique(drawn[1])) == {10.0, 11.0, 12.0}


def test_two_seeds_get_no_interval():
    scores = [np.array([0.1, 0.2]), np.array([0.1, 0.2, 0.3])]
    assert estimate(iqm, scores).interval is None
    assert profile(scores).interval is None
    assert estimate_improvement(list(X.T[:2]), scores).interval is None


def test_official_code_stands_beside_on_the_same_tasks(make_run, curve):
    runs = itertools.product(("walker_stand", "walker_walk"), range(3))
    paths = [make_run(f"{task}-{seed}", task, curve(700 + seed), seed) for task, seed in runs]
    ours, official = aggregates(read_inputs(paths).methods)
    assert (ours.name, ours.frames, ours.tasks, ours.seeds) == ("ours", 100_000, 2, "3")
    assert ours.mean.value == pytest.approx(0.701)
    assert ours.improvement is not None
    assert ours.improvement.value == 1.0
    means = [official_at(task, 100_000) for task in ("walker_stand", "walker_walk")]
    assert official.mean.value == pytest.approx(np.mean([sample.mean for sample in means if sample]) / 1000)
    assert official.improvement is None


def test_nothing_is_aggregated_of_tasks_that_nobody_published(make_run):
    assert aggregates(read_inputs([make_run("a", "my_task", {100_000: 1.0})]).methods) == []
