import json

import pytest


@pytest.fixture
def make_run(tmp_path):
    """Write a run directory with evaluations `{env_step: return}`."""

    def make(name, env, evaluations, seed=0, tail="", **options):
        run = tmp_path / name
        run.mkdir()
        (run / "config.json").write_text(json.dumps({"env": env, "seed": seed, **options}))
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
        lines.insert(1, {"env_step": 1500, "seconds": 150.0, "train/return": 1.0})
        (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + tail)
        return run

    return make
