import errno
import os
import re

import numpy as np
import pytest
from PIL import Image

from dreamer.errors import UserError
from dreamer.results import plot
from dreamer.results.curves import over_seeds
from dreamer.results.plot import plot_runs
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
    run = make_run("scores", "dmc:walker_stand", {0: 0.0, 50_000: 100.0, 100_000: 300.0})
    append_run(run, tmp_path / "scores.csv")
    (run / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text().replace("train/return", "other"))
    plot_runs([run], tmp_path / "run.png")  # a scores file keeps no training episodes
    plot_runs([tmp_path / "scores.csv"], tmp_path / "scores.png")
    assert read(tmp_path / "scores.png").tobytes() == read(tmp_path / "run.png").tobytes()


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
        plot_runs([tmp_path / "missing"], tmp_path / "plots" / "a.png")
    assert not (tmp_path / "plots").exists()


def legend_of(paths, out, **options):
    """The texts in an SVG that plots these runs."""
    plot_runs(paths, out, **options)
    return re.findall(r"<text[^>]*>([^<]*)</text>", out.read_text())


RISING = {0: 0.0, 1000: 10.0, 2000: 30.0}


def test_groups_are_named_by_what_differs_and_bands_by_what_they_are(make_run, tmp_path):
    runs = [make_run(f"a{seed}", "dmc:walker_walk", RISING, seed, horizon=15) for seed in range(3)]
    runs += [make_run("b", "dmc:walker_walk", RISING, horizon=5)]
    texts = legend_of(runs, tmp_path / "a.svg")
    assert {"horizon 15", "horizon 5", "3, 1 seeds", "training episodes", "seeds; their mean is thick"} <= {
        *texts
    }
    assert {"95 % bootstrap interval of the mean", "official TF2 code, range of 5 seeds"} <= {*texts}
    assert "paper, one standard deviation" in texts


def test_labels_name_the_groups_in_the_order_of_the_paths(make_run, tmp_path):
    runs = [
        make_run("z", "gym:Pendulum-v1", RISING, gamma=0.9),
        make_run("a", "gym:Pendulum-v1", RISING, gamma=0.99),
    ]
    drawn = legend_of(runs, tmp_path / "a.svg", labels=["short", "far"])
    assert [text for text in drawn if text in ("short", "far")] == ["short", "far"]
    with pytest.raises(
        UserError, match=r"--labels must name 'gamma 0.9', 'gamma 0.99', in this order: got 1, not 2"
    ):
        plot_runs(runs, tmp_path / "a.svg", labels=["short"])


def test_mean_is_drawn_only_of_equal_runs(make_run, tmp_path, monkeypatch):
    averaged = []
    monkeypatch.setattr(plot, "over_seeds", lambda runs: averaged.append(len(runs)) or over_seeds(runs))
    runs = [make_run(f"a{seed}", "dmc:walker_walk", RISING, seed) for seed in range(2)]
    plot_runs([*runs, make_run("b", "dmc:walker_walk", RISING, gamma=0.5)], tmp_path / "a.png")
    assert averaged == [2]


def test_every_evaluation_has_a_marker_and_training_is_behind_it(make_run, tmp_path, monkeypatch):
    lines, panel = {}, plot._panel

    def look(ax, *rest):
        panel(ax, *rest)
        lines.update({line.get_label(): line for line in ax.lines})

    monkeypatch.setattr(plot, "_panel", look)
    plot_runs([make_run("a", "gym:Pendulum-v1", {1000: 10.0})], tmp_path / "a.png")
    assert lines["ours"].get_marker() == "o"
    assert lines["ours"].get_xydata().tolist() == [[1000, 10]]
    assert lines["training episodes"].get_xydata().tolist() == [[1500, 1]]
    assert lines["training episodes"].get_zorder() < lines["ours"].get_zorder()


def test_what_cannot_be_drawn_yet_is_named_and_the_rest_is_drawn(make_run, tmp_path):
    (tmp_path / "folder").mkdir()
    paths = [
        make_run("a", "dmc:walker_walk", RISING),
        make_run("new", "dmc:walker_walk", {}),
        tmp_path / "folder",
    ]
    notes = plot_runs(paths, tmp_path / "a.png")
    assert [note.split(": ")[0] for note in notes] == [
        f"{tmp_path}/new has no evaluation yet",
        f"{tmp_path}/folder is not a run directory and contains none",
    ]
    assert (tmp_path / "a.png").exists()


def test_colors_and_markers_repeat_late():
    looks = {(number % len(plot.OURS), number % len(plot.MARKERS)) for number in range(40)}
    assert len(looks) == 40


def test_plot_of_nothing_is_refused(tmp_path):
    with pytest.raises(UserError, match="Nothing to show"):
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


def test_a_legend_of_long_names_is_not_cut_off(make_run, tmp_path):
    runs = [make_run(name, "dmc:walker_walk", RISING, horizon=len(name)) for name in ("a", "bb")]
    labels = ["all that is the same in both runs and more than stands on a line, " * 2, "other words, " * 5]
    plot_runs(runs, tmp_path / "long.png", labels=labels)
    plot_runs(runs, tmp_path / "short.png", labels=["a", "b"])
    long, short = (np.asarray(read(tmp_path / f"{name}.png")) for name in ("long", "short"))
    assert len(long) > len(short)  # the panel keeps its height
    assert (long[:, -4:] == 255).all()


def test_options_that_only_one_version_has_say_the_least(make_run, tmp_path):
    runs = [
        make_run("a", "dmc:walker_walk", RISING, gamma=0.9),
        make_run("b", "dmc:walker_walk", RISING, gamma=0.99, an_old_one=4),
    ]
    assert {"gamma 0.9", "gamma 0.99, an_old_one 4"} <= {*legend_of(runs, tmp_path / "a.svg")}
