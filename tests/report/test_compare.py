import math

import numpy as np
import pytest
from scipy import stats

from dreamer.report.compare import (
    MARGIN,
    Sample,
    compare,
    mean_interval,
    official_at,
    paper_at,
    published_name,
    rows_of,
    score_at,
)
from dreamer.results.curves import read_run
from dreamer.results.published import published_tasks

PUBLISHED = Sample.of([500.0, 520.0, 480.0, 510.0, 490.0])


@pytest.mark.parametrize(
    ("ours", "published", "outcome"),
    [
        ([505.0, 495.0, 500.0], PUBLISHED, "pass"),  # as good, and certainly not a tenth worse
        ([470.0, 480.0, 475.0], PUBLISHED, "pass"),  # certainly worse, but by less than a tenth
        ([900.0], PUBLISHED, "pass"),
        ([300.0, 310.0, 305.0], PUBLISHED, "fail"),
        ([300.0], PUBLISHED, "fail"),
        ([505.0, 200.0, 700.0], PUBLISHED, "open"),  # seeds too far apart
        ([440.0], PUBLISHED, "open"),
        ([0.0, 0.0, 0.0], Sample.of([0.0, 20.0, 0.0, 0.0, 1.0]), "too early"),
        ([1000.0, 1000.0], Sample.of([1000.0] * 5), "pass"),  # no spread at all
        ([800.0, 800.0], Sample.of([1000.0] * 5), "fail"),
    ],
)
def test_outcome_of_the_rule(ours, published, outcome):
    assert compare(Sample.of(ours), published).outcome == outcome


def test_interval_of_several_seeds_is_welchs():
    ours = np.array([400.0, 460.0, 510.0])
    result = compare(Sample.of(ours), PUBLISHED)
    expected = stats.ttest_ind(ours, PUBLISHED.seeds, equal_var=False).confidence_interval(0.9)
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high))
    assert not result.assumed


def test_interval_of_one_seed_assumes_the_published_spread():
    result = compare(Sample.of([440.0]), PUBLISHED)
    # Student's pooled interval is the one of Crawford and Howell where one sample has one value.
    expected = stats.ttest_ind([440.0], PUBLISHED.seeds, equal_var=True).confidence_interval(0.9)
    assert (result.low, result.high) == pytest.approx((expected.low, expected.high))
    assert result.assumed


@pytest.mark.parametrize("seeds", [1, 3, 5])
def test_wrong_verdicts_are_as_rare_as_promised(seeds):
    # Ours is exactly one margin below: neither verdict is right in more than 5% of the cases. The margin
    # follows the sample mean, whose spread is a tenth of the interval, and 3000 draws add 0.4%.
    rng = np.random.default_rng(0)
    mean, std = 500.0, 30.0
    outcomes = [
        compare(
            Sample.of(rng.normal((1 - MARGIN) * mean, std, seeds)), Sample.of(rng.normal(mean, std, 5))
        ).outcome
        for _ in range(3000)
    ]
    assert outcomes.count("pass") / 3000 < 0.065
    assert outcomes.count("fail") / 3000 < 0.065


def test_score_within_a_run_averages_as_a_published_bin(make_run):
    evaluations = {step: float(step) for step in range(10_000, 300_001, 10_000)}
    run = read_run(make_run("a", "walker_stand", evaluations | {150_000: 0.0}))
    assert score_at(run, 100_000) == pytest.approx(100_000)  # 60,000 to 140,000
    assert score_at(run, 290_000) == pytest.approx(290_000)  # 280,000 to 300,000
    assert score_at(run, 300_000) == 300_000.0


def test_score_without_an_evaluation_near_is_read_on_a_straight_line(make_run):
    run = read_run(make_run("a", "walker_stand", {0: 0.0, 200_000: 400.0, 400_000: 400.0}))
    assert score_at(run, 100_000) == pytest.approx(200.0)


def test_published_seeds_at_the_middle_of_their_bins():
    # 100,000 lies between the points labeled 105,000 and 205,000, centered at 60,000 and 160,000.
    official = official_at("walker_stand", 100_000)
    assert official is not None
    assert official.n == 5
    assert official.mean == pytest.approx(478, abs=0.5)
    assert official_at("walker_stand", 5_000_000) is None  # its last bin is centered at 4,860,000
    assert official_at("gym:Pendulum-v1", 100_000) is None


def test_seeds_that_ended_early_are_left_out():
    late = official_at("walker_walk", 4_800_000)
    assert late is not None
    assert late.n == 4


def test_spread_of_the_paper_is_that_of_a_sample():
    paper = paper_at("walker_stand", "planet", 1_000_000)
    assert paper is not None
    assert (paper.n, paper.seeds) == (5, ())
    assert paper_at("walker_stand", "planet", 10**8) is None


def test_rows_stand_at_the_milestones_that_seeds_reached(make_run):
    steps = range(50_000, 600_001, 50_000)
    long = make_run("long", "walker_stand", dict.fromkeys(steps, 500.0))
    short = make_run("short", "walker_stand", {50_000: 100.0, 100_000: 300.0}, seed=1)
    rows = rows_of("walker_stand", [read_run(long), read_run(short)], "dreamer")
    assert [(row.frames, row.ours.n) for row in rows] == [(100_000, 2), (500_000, 1)]
    assert rows[0].ours.seeds == (500.0, 300.0)
    assert rows[1].to_official is not None
    assert rows[1].to_paper is not None


def test_runs_before_the_first_milestone_are_compared_where_all_are(make_run):
    runs = [read_run(make_run(f"{end}", "walker_stand", {1000: 1.0, end: 9.0})) for end in (30_000, 60_000)]
    (row,) = rows_of("walker_stand", runs, "dreamer")
    assert row.so_far
    assert row.frames == 30_000


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "dreamer"),
        ({"obs": "state"}, None),
        ({"agent": "planet"}, "planet"),
        ({"agent": "no-value"}, "no_value"),
        ({"agent": "no-value", "objective": "contrastive"}, None),
        ({"agent": "random"}, None),
        ({"objective": "contrastive-tf1"}, "contrastive"),
        ({"objective": "reward-only"}, "reward_only"),
        ({"objective": ["damaged"]}, None),
    ],
)
def test_published_method_with_the_same_options(options, name):
    assert published_name(options) == name


def test_band_is_students_interval_where_three_seeds_are_left():
    values = np.array([[1.0, 1.0, 5.0], [2.0, 2.0, np.nan], [4.0, 4.0, np.nan], [np.nan, 9.0, 6.0]])
    low, high = mean_interval(values)
    for column, seeds in ((0, [1, 2, 4]), (1, [1, 2, 4, 9])):
        expected = stats.t.interval(0.95, len(seeds) - 1, np.mean(seeds), stats.sem(seeds))
        assert (low[column], high[column]) == pytest.approx(expected)
    assert math.isnan(low[2])
    assert np.isnan(mean_interval(values[:2])[0]).all()


def test_official_code_judged_against_the_paper_is_as_the_protocol_says():
    counts = []
    for frames in (100_000, 500_000, 1_000_000, 4_800_000):
        outcomes = []
        for task in published_tasks():
            official, paper = official_at(task, frames), paper_at(task, "dreamer", frames)
            assert official is not None
            assert paper is not None
            outcomes.append(compare(official, paper).outcome)
        counts.append([outcomes.count(name) for name in ("pass", "fail", "open", "too early")])
    assert counts == [[5, 1, 13, 1], [9, 4, 7, 0], [12, 2, 6, 0], [16, 0, 4, 0]]
