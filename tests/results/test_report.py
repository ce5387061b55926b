import pytest

from dreamer.errors import UserError
from dreamer.results.report import results_table
from dreamer.results.scores import append_run


@pytest.fixture
def make_scores(make_run, tmp_path):
    """Write a scores file of runs `(env, seed, {env_step: return})`."""

    def make(name, *runs, **options):
        for number, (env, seed, evaluations) in enumerate(runs):
            run = make_run(f"{name}-{number}", env, evaluations, seed, **options)
            append_run(run, tmp_path / f"{name}.csv")
        return tmp_path / f"{name}.csv"

    return make


def test_row_for_each_task_and_number_of_frames(make_scores):
    scores = make_scores(
        "laptop",
        ("dmc:walker_stand", 0, {50_000: 1.0, 100_000: 500.0}),
        ("dmc:walker_stand", 1, {50_000: 1.0, 100_000: 400.0}),
        ("dmc:walker_stand", 2, {50_000: 123.4}),
        ("gym:Mine-v0", 0, {1000: 7.0}),
    )
    head, _, *rows = results_table([scores]).splitlines()
    assert head.startswith("| task | seeds | frames | ours |")
    assert rows == [
        "| gym:Mine-v0 | 1 | 1,000 | 7 | - | - | 0.03 |",
        "| walker stand | 1 | 50,000 | 123 | 301 ± 75 | 978 | 1.39 |",
        "| walker stand | 2 | 100,000 | 450 ± 50 | 478 ± 77 | 978 | 2.78 |",
    ]


def test_methods_are_not_averaged(make_scores):
    run = ("dmc:walker_stand", 0, {100_000: 500.0})
    table = results_table([make_scores("small", run, units=200), make_scores("large", run, units=400)])
    assert [row.split(" | ")[:3] for row in table.splitlines()] == [
        ["| method", "task", "seeds"],
        ["| ---", "---", "---:"],
        ["| small", "walker stand", "1"],
        ["| large", "walker stand", "1"],
    ]


@pytest.mark.parametrize("options", [{"obs": "state"}, {"agent": "planet"}, {"objective": "contrastive"}])
def test_only_dreamer_from_images_is_put_beside_the_published_dreamer(options, make_scores):
    run = ("dmc:walker_stand", 0, {100_000: 500.0})
    assert "| 500 | - | - |" in results_table([make_scores("a", run, **options)])


def test_table_of_no_files_is_refused():
    with pytest.raises(UserError, match="No results"):
        results_table([])
