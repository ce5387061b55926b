import errno
import os

import pytest
from PIL import Image

from dreamer.errors import UserError
from dreamer.results import plot
from dreamer.results.curves import read_run
from dreamer.results.plot import how_many, plot_runs
from dreamer.results.scores import append_run


def read(path):
    with Image.open(path) as image:
        return image.convert("RGB")


def test_plot_has_a_panel_for_each_task(make_run, tmp_path):
    curve = {0: 0.0, 50_000: 100.0, 100_000: 300.0}
    walker = [make_run(f"walker-{seed}", "dmc:walker_stand", curve, seed) for seed in (0, 1)]
    plot_runs(walker, tmp_path / "one.png")
    plot_runs([*walker, make_run("cup", "dmc:cup_catch", curve)], tmp_path / "plots" / "two.png")
    one, two = read(tmp_path / "one.png"), read(tmp_path / "plots" / "two.png")
    assert two.width > one.width
    assert two.height == one.height
    colors = {color for _, color in one.getcolors(1 << 20) or []}
    assert {(200, 64, 47), (63, 111, 159), (138, 138, 138)} <= colors  # ours, official, paper


def test_scores_file_is_drawn_like_its_run(make_run, tmp_path):
    run = make_run("a", "dmc:walker_stand", {0: 0.0, 50_000: 100.0, 100_000: 300.0})
    append_run(run, tmp_path / "scores.csv")
    plot_runs([run], tmp_path / "run.png")
    plot_runs([tmp_path / "scores.csv"], tmp_path / "scores.png")
    assert read(tmp_path / "scores.png").tobytes() == read(tmp_path / "run.png").tobytes()


def test_runs_are_called_seeds_only_if_otherwise_alike(make_run):
    curve = {0: 0.0, 1000: 1.0}
    one, two = (read_run(make_run(f"w-{seed}", "dmc:walker_stand", curve, seed)) for seed in (0, 1))
    other = read_run(make_run("other", "dmc:walker_stand", curve, 2, gamma=0.5))
    assert how_many([one]) == "1 seed"
    assert how_many([one, two]) == "2 seeds"
    assert how_many([one, two, other]) == "3 runs"


def test_plot_of_an_environment_that_nobody_published(make_run, tmp_path):
    run = make_run("a", "gym:Pendulum-v1", {0: -1500.0, 1000: -200.0})
    plot_runs([run], tmp_path / "a.png")
    colors = {color for _, color in read(tmp_path / "a.png").getcolors(1 << 20) or []}
    assert (200, 64, 47) in colors
    assert (63, 111, 159) not in colors


def test_place_that_cannot_be_written_is_a_sentence(make_run, tmp_path):
    run = make_run("a", "dmc:walker_walk", {0: 0.0, 1000: 1.0})
    (tmp_path / "README.md").touch()
    with pytest.raises(UserError, match=r"Cannot write .*README.md/x.png .*: choose another --out"):
        plot_runs([run], tmp_path / "README.md" / "x.png")


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
def test_disk_that_refuses_keeps_the_former_image(number, make_run, tmp_path, monkeypatch):
    run, out = make_run("a", "dmc:walker_walk", {0: 0.0, 1000: 1.0}), tmp_path / "out" / "a.png"
    out.parent.mkdir()
    out.write_text("before")

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UserError, match=rf"Cannot write {out} \({os.strerror(number)}\)"):
        plot_runs([run], out)
    assert [path.name for path in out.parent.iterdir()] == ["a.png"]
    assert out.read_text() == "before"


@pytest.mark.parametrize(("ending", "start"), [(".pdf", b"%PDF"), (".svg", b"<?xml"), (".PNG", b"\x89PNG")])
def test_format_follows_the_ending(ending, start, make_run, tmp_path):
    out = tmp_path / f"a{ending}"
    plot_runs([make_run("a", "dmc:walker_walk", {0: 0.0, 1000: 1.0})], out)
    assert out.read_bytes().startswith(start)


def test_refusal_writes_nothing(make_run, tmp_path):
    run = make_run("a", "dmc:walker_walk", {0: 0.0, 1000: 1.0})
    with pytest.raises(UserError, match=r"a\.txt.*png"):
        plot_runs([run], tmp_path / "plots" / "a.txt")
    with pytest.raises(UserError, match="is not a run directory"):
        plot_runs([run, tmp_path], tmp_path / "plots" / "a.png")
    assert not (tmp_path / "plots").exists()


def test_plot_of_nothing_is_refused(tmp_path):
    with pytest.raises(UserError, match="Nothing to plot"):
        plot_runs([], tmp_path / "a.png")


@pytest.mark.parametrize("agent", ["d4pg", "a3c"])
def test_baselines_are_drawn_over_what_is_published_of_them(agent, make_run, tmp_path, monkeypatch):
    drawn, curve = [], plot._curve
    monkeypatch.setattr(plot, "_curve", lambda ax, *rest: drawn.append(rest) or curve(ax, *rest))
    run = make_run("a", "dmc:cartpole_balance", {0: 0.0, 50_000: 100.0, 100_000: 300.0}, agent=agent)
    plot_runs([run], tmp_path / "a.png")
    scores = {"d4pg": 992.8, "a3c": 951.6}  # after 1e8 frames; of D4PG there is a curve from states, too
    assert [each[0].mean[-1] for each in drawn][-1] == scores[agent]
    assert len(drawn) == (2 if agent == "d4pg" else 1)
