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
        "| walker stand | 1 | 50,000 | 123 | 301 (250 to 383) | 978 | 1.39 |",
        "| walker stand | 2 | 100,000 | 450 ± 50 | 478 (410 to 610) | 978 | 2.78 |",
        "| **mean of 2 tasks** |  |  | **287** | **390**, reached on 0 | **978** |  |",
    ]


def test_last_row_has_means_over_tasks_and_tuned_tasks_are_marked(make_run, make_scores, tmp_path):
    make_scores("a", ("dmc:walker_stand", 0, {100_000: 500.0}), ("dmc:cartpole_swingup", 0, {100_000: 220.0}))
    append_run(tmp_path / "a-0", tmp_path / "a.csv", tuned_on=("walker_stand",))
    assert [row.split(" | ") for row in results_table([tmp_path / "a.csv"]).splitlines()[2:]] == [
        ["| cartpole swingup", "1", "100,000", "220", "221 (74 to 428)", "834", "2.78 |"],
        ["| walker stand \\*", "1", "100,000", "500", "478 (410 to 610)", "978", "2.78 |"],
        ["| **mean of 2 tasks**", "", "", "**360**", "**349**, reached on 1", "**906**", " |"],
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
