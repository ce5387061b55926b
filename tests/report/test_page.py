import errno
import json
import os
import re
import sys
from html.parser import HTMLParser

import pytest

from dreamer.cli import main
from dreamer.errors import UserError
from dreamer.report.charts import LOOKS_OF_OURS
from dreamer.report.page import TEMPLATES, write_report
from dreamer.results.scores import append_run


class Elements(HTMLParser):
    """Collects the attributes of all elements, and the text outside of scripts and styles."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.text, self._skip = [], "", False
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._skip = tag in ("script", "style")
        self.text += " "

    def handle_endtag(self, tag):
        self._skip = False

    def handle_data(self, data):
        self.text += "" if self._skip else data


def read(page):
    html = page.read_text(encoding="utf-8")
    parsed = Elements(html)
    data = json.loads(re.search(r'id="data">(.*?)</script>', html, re.S)[1])  # pyright: ignore
    return parsed, " ".join(parsed.text.split()), data


def test_page_has_curves_scores_and_videos(make_run, curve, tmp_path):
    files = {
        "videos/evaluation-000050000.mp4": b"old",
        "videos/evaluation-000100000.mp4": b"new",
        "videos/open_loop-000100000.gif": b"gif",
        "machine.json": b'[{"processor": "AMD EPYC", "cores": 2}]',
    }
    ends = enumerate((500.0, 700.0, 600.0))
    runs = [make_run(f"r{seed}", "walker_stand", curve(end), seed, files, units=200) for seed, end in ends]
    report = write_report(runs, tmp_path / "out" / "report")
    assert report.page == tmp_path / "out" / "report" / "index.html"
    assert report.notes == ()
    parsed, text, data = read(report.page)
    assert "600 500 to 700, 3 seeds" in text
    assert "processor AMD EPYC, cores 2" in text
    assert "units 200 (400)" in text
    (panel,) = data["panels"]
    assert panel["curves"].keys() == {"ours0", "official", "paper-dreamer", "paper-no_value", "paper-planet"}
    assert panel["lines"].keys() == {"d4pg", "a3c"}
    ours = panel["curves"]["ours0"]
    assert (ours["x"][-1], ours["y"][-1]) == (100_000, 600.0)
    assert ours["low"][-1] == pytest.approx(600 - 4.303 * 100 / 3**0.5, abs=0.1)
    sources = [attributes["src"] for tag, attributes in parsed.elements if tag in ("video", "img")]
    assert sources == [
        "videos/ours-walker_stand-2-evaluation.mp4#t=0.1",
        "videos/ours-walker_stand-2-open_loop.gif",
    ]
    film = report.page.parent / "videos" / "ours-walker_stand-2-evaluation.mp4"
    assert film.read_bytes() == b"new"  # the newest of the median seed


def test_page_loads_nothing_from_elsewhere(make_run, curve, tmp_path):
    page = write_report([make_run("a", "walker_stand", curve(1.0))], tmp_path / "out").page
    parsed, _, _ = read(page)
    every = [attribute for _, attributes in parsed.elements for attribute in attributes.items()]
    links = [value for name, value in every if name in ("src", "href")]
    assert links
    assert all(link.startswith("#") for link in links)
    assert "@import" not in page.read_text(encoding="utf-8")
    assert page.stat().st_size < 600_000


def test_names_cannot_end_the_script_or_the_page(make_run, tmp_path):
    name = "</script><b>x"
    page = write_report([make_run("a", name, {1000: 5.0, 2000: 6.0})], tmp_path / "out").page
    _, _, data = read(page)
    assert data["panels"][0]["task"] == name
    assert "<b>x" not in page.read_text(encoding="utf-8")


def test_task_that_nobody_published_is_drawn_alone(make_run, tmp_path):
    run = make_run("a", "", {1000: -1500.0, 2000: -200.0}, env="gym:Pendulum-v1")
    _, text, data = read(write_report([run], tmp_path / "out").page)
    (panel,) = data["panels"]
    assert panel["curves"].keys() == {"ours0"}
    assert not panel["bounded"]
    assert "−200" in text
    assert "All tasks together" not in text
    assert "How to read it" not in text
    assert "official code" not in text
    assert "verdict" not in text


def test_several_methods_have_rows_of_their_own(make_run, curve, tmp_path):
    runs = [make_run(agent, "walker_stand", curve(400.0), agent=agent) for agent in ("dreamer", "planet")]
    _, text, data = read(write_report(runs, tmp_path / "out").page)
    assert [one["label"] for one in data["series"]][:2] == ["dreamer", "planet"]
    assert "walker stand planet 400 1 seed" in text


def test_tasks_on_which_options_were_chosen_are_marked(make_run, curve, tmp_path):
    scores = tmp_path / "method.csv"
    for task in ("walker_stand", "cheetah_run"):
        append_run(make_run(task, task, curve(400.0)), scores, tuned_on=["walker_stand"])
    _, text, _ = read(write_report([scores], tmp_path / "out").page)
    assert "walker stand options chosen on it 400" in text
    assert "cheetah run 400" in text


def test_style_sheet_has_a_look_for_each_of_ours():
    style = (TEMPLATES / "style.css").read_text(encoding="utf-8")
    looks = [re.search(rf"\.ours{i} {{ (.*?) }}", style) for i in range(LOOKS_OF_OURS)]
    assert len({look[1].partition("--dash")[2] for look in looks if look}) == LOOKS_OF_OURS
    for i in range(LOOKS_OF_OURS):
        assert len(re.findall(rf"--ours{i}: #", style)) == 3  # light, dark, paper


def test_same_input_gives_the_same_page(make_run, curve, tmp_path):
    runs = [make_run(f"r{seed}", "walker_stand", curve(500.0 + seed), seed) for seed in range(3)]
    pages = [write_report(runs, tmp_path / name).page.read_bytes() for name in "ab"]
    assert pages[0] == pages[1]


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC])
def test_disk_that_refuses_keeps_the_former_page(number, make_run, curve, tmp_path, monkeypatch):
    run, page = make_run("a", "walker_stand", curve(1.0)), tmp_path / "out" / "index.html"
    page.parent.mkdir()
    page.write_text("before")

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(UserError, match=os.strerror(number)):
        write_report([run], page.parent)
    assert page.read_text() == "before"


def dreamer(monkeypatch, *arguments):
    """Return the exit status of a command."""
    monkeypatch.setattr(sys, "argv", ["dreamer", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


def test_command_writes_what_it_can_and_names_the_rest(make_run, curve, tmp_path, monkeypatch, capsys):
    run, young = make_run("a", "walker_stand", curve(300.0)), make_run("b", "walker_stand", {}, seed=1)
    page = tmp_path / "page" / "index.html"
    assert dreamer(monkeypatch, "report", run, young, "--out", page.parent) == 0
    shown = capsys.readouterr()
    assert shown.out == f"Wrote {page}\n"
    assert shown.err == f"dreamer: {young} has no evaluation yet: continue its training.\n"
    assert "no evaluation yet" in page.read_text(encoding="utf-8")


def test_command_that_can_read_nothing_writes_nothing(tmp_path, monkeypatch, capsys):
    assert dreamer(monkeypatch, "report", tmp_path / "gone", "--out", tmp_path / "page") == 2
    assert capsys.readouterr().err.startswith(f"dreamer: {tmp_path / 'gone'} is not a run directory")
    assert not (tmp_path / "page").exists()
