"""The scores that the repository keeps, and the tables made of them."""

import re
from pathlib import Path

import pytest

from dreamer.results.report import results_table
from dreamer.results.scores import read_method, read_scores

ROOT = Path(__file__).parents[2]
SCORES = sorted((ROOT / "docs" / "results" / "scores").glob("*.csv"))
TABLE = re.compile(r"<!-- results: dreamer table (.+?) -->\n(.*?)<!-- /results -->", re.DOTALL)


@pytest.mark.parametrize("page", ["README.md", "docs/results/README.md"])
def test_table_of_a_page_is_what_the_command_prints(page):
    ((patterns, table),) = TABLE.findall((ROOT / page).read_text(encoding="utf-8"))
    files = [path for pattern in patterns.split() for path in sorted(ROOT.glob(pattern))]
    assert table == results_table(files)


@pytest.mark.parametrize("scores", SCORES, ids=lambda path: path.stem)
def test_method_says_how_its_runs_were_made(scores):
    method, runs = read_method(scores), read_scores(scores)
    assert re.match(r"dreamer train (--\S+ \S+ )*--env ", method.command)
    assert {"TASK", "SEED"} <= set(re.findall(r"[A-Z]+", method.command))
    assert re.fullmatch("[0-9a-f]{7,40}", method.commit)
    assert method.hardware
    assert [(run.task, run.seed) for run in runs] == [(run["task"], run["seed"]) for run in method.runs]
    assert {run.episodes for run in runs} == {10}


@pytest.mark.parametrize("scores", SCORES, ids=lambda path: path.stem)
def test_page_of_results_names_every_method(scores):
    assert f"(scores/{scores.name})" in (ROOT / "docs" / "results" / "README.md").read_text(encoding="utf-8")
