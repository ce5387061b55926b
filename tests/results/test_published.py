import numpy as np
import pytest

from dreamer.errors import UserError
from dreamer.results.published import (
    FOLDER,
    OFFICIAL,
    official_curve_at,
    published_curve,
    published_curves,
    published_score,
    published_tasks,
    task_name,
)


def test_published_tasks_are_twenty_with_every_method():
    assert len(published_tasks()) == 20
    for task in published_tasks():
        names = {(curve.method, curve.source) for curve in published_curves(task)}
        assert {(method, "paper, Figure 10") for method in ("dreamer", "no_value", "planet")} <= names
        assert {(method, "paper, Figure 11") for method in ("contrastive", "reward_only")} <= names
        assert ("dreamer", OFFICIAL) in names


def test_task_name_is_the_published_one():
    assert task_name("dmc:cup_catch") == task_name("ball_in_cup_catch") == "ball_in_cup_catch"
    assert published_score("dmc:cup_catch") == published_score("ball_in_cup_catch") is not None


def test_scores_average_to_those_of_appendix_g():
    """The averages that the paper itself prints below its table."""
    for method, average in {"dreamer": 823.39, "planet": 332.97, "d4pg": 786.32, "a3c": 243.70}.items():
        scores = [score for task in published_tasks() if (score := published_score(task, method)) is not None]
        assert np.mean(scores) == pytest.approx(average, abs=0.01)
    assert published_score("walker_walk") == 961.67
    assert published_score("walker_walk", "slac") == 840
    assert published_score("dog_run") is None


def test_points_are_those_published():
    curve = published_curve("walker_walk", source=OFFICIAL)
    assert curve.seeds is not None
    assert curve.seeds.shape == (5, len(curve.env_step))
    assert curve.seeds[0, :3] == pytest.approx([30.3, 173.3, 592.1])
    assert np.isnan(curve.seeds[2, -1])  # this run ended early
    paper = published_curve("walker_walk")
    assert (paper.source, paper.env_step[1]) == ("paper, Figure 7", 100_000)
    assert published_curve("walker_stand").source == "paper, Figure 10"


def test_published_bins_end_at_their_point():
    """Figure 10 averages pairs of Figure 7's bins, and those that end at the same frame."""
    fine, coarse = published_curve("walker_walk"), published_curve("walker_walk", source="paper, Figure 10")
    pairs = (fine.mean[1:41:2] + fine.mean[2:42:2]) / 2
    assert coarse.mean[2:21] == pytest.approx(pairs[1:20], abs=6)


def test_curve_is_read_between_the_middles_of_bins():
    curve = published_curve("cartpole_swingup", source=OFFICIAL)
    assert curve.middle[:3].tolist() == [5000, 60_000, 160_000]
    assert official_curve_at("cartpole_swingup", 60_000) == pytest.approx(curve.mean[1])
    assert official_curve_at("cartpole_swingup", 110_000) == pytest.approx(curve.mean[1:3].mean())
    assert np.isnan(official_curve_at("cartpole_swingup", 2e7))


def test_unknown_task_is_refused_with_the_known_ones():
    assert published_curves("dog_run") == []
    with pytest.raises(UserError, match=r"dog_run.*walker_walk"):
        published_curve("dmc:dog_run")


def test_published_data_stay_small():
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 400_000
