import json

import pytest

from benchmarks.running import run
from dreamer.config import with_options
from dreamer.presets import debug
from dreamer.replay.store import EpisodeStore

TINY = {"image_size": 32, "time_limit": 20, "batch_size": 2, "batch_length": 3, "horizon": 2}
TINY |= {"device": "cpu", "precision": "float32", "threads": 1}


@pytest.fixture
def scale(script):
    return script("scale")


def test_many_episodes_of_few_files(scale, tmp_path):
    config = with_options(debug(), TINY)
    scale.fill(tmp_path, config, episodes=4, distinct=3, length=11)
    scale.fill(tmp_path, config, episodes=20, distinct=3, length=11)
    store = EpisodeStore(tmp_path)
    assert (len(store), store.num_steps) == (20, 200)
    assert len({path.stat().st_ino for path in tmp_path.iterdir()}) == 3
    second, again = store.episode(1)["image"], store.episode(19)["image"]
    assert (second == again).all()
    assert (second != store.episode(0)["image"]).any()


def test_a_point_of_the_replay(scale, tmp_path):
    scale.fill(tmp_path, with_options(debug(), TINY), episodes=5, distinct=2, length=11)
    point = {"directory": str(tmp_path), "repeats": 2, "batch": {"batch_size": 2, "batch_length": 3}}
    found = scale.measure_replay(point)
    assert found["decisions"] == 50
    assert 0 < found["batch"]["low"] <= found["batch"]["median"] <= found["batch"]["high"]
    assert 0 < found["anonymous_bytes"] <= found["resident_bytes"]


def test_a_point_of_the_gradient_step(scale):
    longer = {"preset": "debug", "path": "eager", "repeats": 1, "options": {**TINY, "horizon": 4}}
    shorter = longer | {"options": TINY}
    steps = [scale.measure_update(point)["step"] for point in (shorter, longer)]
    assert steps[0]["flops"] < steps[1]["flops"]


def test_points_that_fail_are_shown_and_left_out_of_the_plot(scale, tmp_path):
    times = {"low": 0.001, "median": 0.002, "high": 0.003}
    good = {"size": 2, "step": times, "memory": {"process, peak": 2**20}}
    result = {
        "updates": {"batch_size": [good, {"size": 4, "error": "out of memory"}]},
        "replay": [{"frames": 1000, "episodes": 2, "error": "no room"}],
    }
    assert scale.tables(result).splitlines()[2:4] == [
        "| 2 | 2 | 1 - 3 | 1 MiB process |",
        "| 4 | out of memory |  |  |",
    ]
    scale.draw(result, tmp_path / "scale.png")
    assert (tmp_path / "scale.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_whole_script(tmp_path):
    axes = json.dumps({"image_size": [32, 10]})  # the second is too small for the encoder
    sizes = ["--axes", axes, "--options", json.dumps(TINY), "--repeats", 1, "--frames", 1000]
    done = run("scale.py", "--out", tmp_path, "--preset", "debug", *sizes, "--distinct", 2)
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "scale.json").read_text())
    good, bad = result["updates"]["image_size"]
    assert good["step"]["median"] > 0
    assert "too small" in bad["error"]
    assert [point["episodes"] for point in result["replay"]] == [50]
    assert {path.name for path in tmp_path.iterdir()} == {"scale.json", "scale.md", "scale.png"}
