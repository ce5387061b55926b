import json

import pytest


@pytest.fixture
def make_run(tmp_path):
    """Write a run directory with evaluations `{env_step: return}`; `files` are added to it by name."""

    def make(name, task, evaluations, seed=0, files=(), tail="", **options):
        run = tmp_path / name
        run.mkdir(parents=True)
        config = {"env": f"dmc:{task}", "seed": seed, "steps": 100_000, **options}
        (run / "config.json").write_text(json.dumps(config))
        lines = [
            {
                "env_step": step,
                "seconds": step / 10,
                "eval/return": value,
                "eval/return_std": 20.0,
                "eval/episodes": 10,
            }
            for step, value in evaluations.items()
        ]
        lines.insert(0, {"env_step": 500, "seconds": 50.0, "train/return": 1.0})
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)
        for file, content in dict(files).items():
            (run / file).parent.mkdir(exist_ok=True)
            (run / file).write_bytes(content)
        return run

    return make


@pytest.fixture
def curve():
    """Evaluations at every 10,000 frames up to 100,000, rising in a straight line to `end`."""
    return lambda end: {step: end * step / 100_000 for step in range(10_000, 100_001, 10_000)}
