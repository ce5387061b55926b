import pytest
from PIL import Image

from dreamer.errors import UserError
from dreamer.results.plot import plot_runs


def read(path):
    with Image.open(path) as image:
        return image.convert("RGB")


def test_a_panel_for_each_task(make_run, tmp_path):
    curve = {0: 0.0, 50_000: 100.0, 100_000: 300.0}
    walker = [make_run(f"walker-{seed}", "dmc:walker_stand", curve, seed) for seed in (0, 1)]
    plot_runs(walker, tmp_path / "one.png")
    plot_runs([*walker, make_run("cup", "dmc:cup_catch", curve)], tmp_path / "plots" / "two.png")
    one, two = read(tmp_path / "one.png"), read(tmp_path / "plots" / "two.png")
    assert two.width > one.width
    assert two.height == one.height
    colors = {color for _, color in one.getcolors(1 << 20) or []}
    assert {(200, 64, 47), (63, 111, 159), (138, 138, 138)} <= colors  # ours, official, paper


def test_an_environment_that_nobody_published(make_run, tmp_path):
    run = make_run("a", "gym:Pendulum-v1", {0: -1500.0, 1000: -200.0})
    plot_runs([run], tmp_path / "a.png")
    colors = {color for _, color in read(tmp_path / "a.png").getcolors(1 << 20) or []}
    assert (200, 64, 47) in colors
    assert (63, 111, 159) not in colors


def test_refused_before_anything_is_written(make_run, tmp_path):
    run = make_run("a", "dmc:walker_walk", {0: 0.0, 1000: 1.0})
    with pytest.raises(UserError, match=r"a\.txt.*png"):
        plot_runs([run], tmp_path / "plots" / "a.txt")
    with pytest.raises(UserError, match="no run directory"):
        plot_runs([run, tmp_path], tmp_path / "plots" / "a.png")
    assert not (tmp_path / "plots").exists()


def test_no_runs_at_all(tmp_path):
    with pytest.raises(UserError, match="Nothing to plot"):
        plot_runs([], tmp_path / "a.png")
