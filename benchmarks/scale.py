"""Measure how time and memory grow: of a gradient step with its sizes, of a batch with the replay.

    python benchmarks/scale.py --out runs/scale --preset paper
    python benchmarks/scale.py --out runs/scale --only replay --frames 100000 1000000 5000000

One size at a time is changed, all others stay at the preset's; every point has a process of its own, so that
no memory is left over from the one before. Writes scale.json, scale.md and scale.png into --out.

The replay is made of noise: a few distinct episodes on disk, and hard links to them under the names of all
others. So five million frames cost little disk, but their pages are few: it shows time and memory of a
replay whose pages are in the page cache. --distinct makes more of them real.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
import torch
import tyro
from tables import markdown, write_json

from dreamer.agents.make import make_agent
from dreamer.agents.model_based import ModelBasedAgent
from dreamer.agents.precision import pick_device, pick_dtype
from dreamer.bench.bench import describe_machine
from dreamer.bench.figure import Stopwatch, Variant
from dreamer.bench.gradient_step import total
from dreamer.bench.memory import peaks, reset_peaks, status_bytes
from dreamer.bench.paths import path_named, usual_path
from dreamer.bench.replay import random_episode
from dreamer.config import Config, with_options
from dreamer.envs.action_repeat import resolve
from dreamer.presets import preset
from dreamer.replay.sampler import SequenceSampler
from dreamer.replay.store import EpisodeStore
from dreamer.results.doctor import peak_memory_bytes, size
from dreamer.results.plot import OURS, STYLE
from dreamer.results.timing import call_times, random_batch
from dreamer.spec import ActionSpec, EnvSpec
from dreamer.training.host_memory import keep_freed_memory

mpl.use("agg")
import matplotlib.pyplot as plt

AXES = {
    "batch_size": [10, 25, 50, 100, 200],
    "batch_length": [10, 25, 50, 100],
    "horizon": [5, 10, 15, 30],
    "image_size": [32, 64, 96, 128],
}
FRAMES = (100_000, 500_000, 1_000_000, 2_000_000, 5_000_000)
ACTIONS = 6
"""As `walker_walk`; no environment is needed to measure."""


@dataclass(frozen=True)
class Options:
    """How time and memory grow with the sizes of a run."""

    out: Path
    """Folder for scale.json, scale.md and scale.png."""
    preset: str = "paper"
    """Where all sizes stand but the one that is changed."""
    only: Literal["", "updates", "replay"] = ""
    """Measure one of the two only."""
    axes: str = json.dumps(AXES)
    """Sizes to try, as JSON: option -> list."""
    options: str = "{}"
    """Further options of the run, as JSON."""
    path: str = ""
    """How a gradient step is executed; as a run does it if not given."""
    repeats: int = 10
    """Least number of measurements for each point."""
    frames: tuple[int, ...] = FRAMES
    """Simulator frames in the replay."""
    distinct: int = 10
    """Episodes of the replay that are files of their own; the others are hard links to them."""
    scratch: Path | None = None
    """Where the replay is written for the time being; the system's temporary folder if not given."""
    point: str = ""
    """Used by the script itself: one point to measure, as JSON."""


def main() -> None:
    options = tyro.cli(Options, description=__doc__)
    if options.point:
        point = json.loads(options.point)
        print(json.dumps(measure_replay(point) if "directory" in point else measure_update(point)))
        return
    config = resolve(with_options(preset(options.preset), json.loads(options.options)))
    result: dict[str, Any] = {"machine": describe_machine(pick_device(config.training.device))}
    if options.only != "replay":
        for axis, point in updates(options):
            result.setdefault("updates", {}).setdefault(axis, []).append(point)
            keep(options.out, result)
    if options.only != "updates":
        for point in replays(options, config):
            result.setdefault("replay", []).append(point)
            keep(options.out, result)
    draw(result, options.out / "scale.png")
    print(tables(result))


def keep(out: Path, result: dict[str, Any]) -> None:
    """Write what has been measured so far, whatever comes after."""
    write_json(out / "scale.json", result)
    (out / "scale.md").write_text(tables(result))


# -- gradient steps --------------------------------------------------------------------------------------


def updates(options: Options) -> Iterator[tuple[str, dict[str, Any]]]:
    """All points with their axis: the size, and the figures or the error of its process."""
    base = {"preset": options.preset, "path": options.path, "repeats": options.repeats}
    for axis, sizes in json.loads(options.axes).items():
        for number in sizes:
            point = {**base, "options": {**json.loads(options.options), axis: number}}
            yield axis, {"size": number, **in_process(point)}


def measure_update(point: dict[str, Any]) -> dict[str, Any]:
    """Time and peak memory of a gradient step, in this process."""
    keep_freed_memory()  # as training does
    config = with_options(preset(point["preset"]), point["options"])
    if config.training.threads:
        torch.set_num_threads(config.training.threads)
    side = config.environment.image_size
    spec = EnvSpec({"image": (side, side, 3)}, {}, ActionSpec(ACTIONS))
    device = pick_device(config.training.device)
    path = path_named(point["path"], device) if point["path"] else usual_path(device)
    config = with_options(config, dict(path.options))
    precision = str(pick_dtype(config.training.precision, device)).removeprefix("torch.")
    watch = Stopwatch(Variant(device.type, precision, path.name), repeats=point["repeats"])
    agent = make_agent(spec, config)
    assert isinstance(agent, ModelBasedAgent)
    batch = random_batch(spec, config.replay.batch_size, config.replay.batch_length, device)
    reset_peaks(device)
    step = total(watch, agent, path, batch)
    memory = {figure.name: figure.median for figure in peaks(device, "a gradient step", watch.variant)}
    return {"step": asdict(step), "memory": memory}


# -- the replay ------------------------------------------------------------------------------------------


def replays(options: Options, config: Config) -> Iterator[dict[str, Any]]:
    """All points: frames, and what measuring them gave."""
    decisions = config.environment.time_limit // config.environment.repeat
    with tempfile.TemporaryDirectory(dir=options.scratch, prefix="dreamer-scale-") as directory:
        for frames in sorted(options.frames):
            episodes = -(-frames // (decisions * config.environment.repeat))
            fill(Path(directory), config, episodes, options.distinct, decisions + 1)
            point = {"directory": directory, "repeats": options.repeats, "batch": asdict(config.replay)}
            yield {"frames": frames, "episodes": episodes, **in_process(point)}


def fill(directory: Path, config: Config, episodes: int, distinct: int, length: int) -> None:
    """Bring the store in `directory` to so many episodes: `distinct` are written, the others linked."""
    side, rng = config.environment.image_size, np.random.default_rng(0)
    spec = EnvSpec({"image": (side, side, 3)}, {}, ActionSpec(ACTIONS))
    store = EpisodeStore(directory)
    for _ in range(len(store), min(distinct, episodes)):
        store.append(random_episode(spec, length, rng))
    for number in range(len(store), episodes):
        os.link(directory / name_of(number % distinct, length), directory / name_of(number, length))


def name_of(number: int, length: int) -> str:
    """The name that `EpisodeStore` gives an episode."""
    return f"episode-{number:08d}-{length}.npz"


def measure_replay(point: dict[str, Any]) -> dict[str, Any]:
    """Opening the store, drawing batches, and what memory that takes, in this process."""
    before, start = status_bytes("RssAnon"), time.perf_counter()
    store = EpisodeStore(point["directory"], mode="r")
    opened = time.perf_counter() - start
    sampler = SequenceSampler(store, point["batch"]["batch_size"], point["batch"]["batch_length"])
    rng, out = np.random.default_rng(0), sampler.allocate()
    times = call_times(lambda: sampler.sample(rng, out), budget=1.0, least=point["repeats"])
    low, median, high = np.quantile(times, [0.25, 0.5, 0.75]).tolist()
    after = status_bytes("RssAnon")
    return {
        "decisions": store.num_steps,
        "opening_s": opened,
        "batch": {"median": median, "low": low, "high": high, "count": len(times)},
        "anonymous_bytes": after if after is not None else peak_memory_bytes(),
        "anonymous_growth_bytes": after - before if after is not None and before is not None else None,
        "resident_bytes": status_bytes("VmRSS") or peak_memory_bytes(),
    }


# -- both ------------------------------------------------------------------------------------------------


def in_process(point: dict[str, Any]) -> dict[str, Any]:
    """Measure a point in a fresh process; its last words if it fails, so that the other points go on."""
    command = [sys.executable, __file__, "--out", ".", "--point", json.dumps(point)]
    child = subprocess.run(command, capture_output=True, text=True, check=False)
    if child.returncode:
        return {"error": (child.stderr.strip().splitlines() or [f"exit status {child.returncode}"])[-1]}
    return json.loads(child.stdout.splitlines()[-1])


def tables(result: dict[str, Any]) -> str:
    """Both parts as Markdown."""
    parts = []
    for axis, points in result.get("updates", {}).items():
        head = [axis.replace("_", " "), "gradient step, ms", "quartiles, ms", "memory at its peak"]
        parts.append(markdown(head, [_update_row(point) for point in points]))
    if "replay" in result:
        head = [
            "frames",
            "episodes",
            "opening, s",
            "batch, ms",
            "quartiles, ms",
            "anonymous memory",
            "resident",
        ]
        parts.append(markdown(head, [_replay_row(point) for point in result["replay"]]))
    return "\n".join(parts)


def _update_row(point: dict[str, Any]) -> list[str]:
    if "error" in point:
        return [str(point["size"]), point["error"], "", ""]
    memory = ", ".join(f"{size(count)} {name.split(',')[0]}" for name, count in point["memory"].items())
    return [str(point["size"]), *_milliseconds(point["step"]), memory]


def _replay_row(point: dict[str, Any]) -> list[str]:
    frames = [f"{point['frames']:,}", f"{point['episodes']:,}"]
    if "error" in point:
        return [*frames, point["error"], "", "", "", ""]
    memory = [size(point["anonymous_bytes"]), size(point["resident_bytes"])]
    return [*frames, f"{point['opening_s']:.2f}", *_milliseconds(point["batch"]), *memory]


def _milliseconds(times: dict[str, Any]) -> list[str]:
    low, median, high = (1e3 * times[name] for name in ("low", "median", "high"))
    return [f"{median:.3g}", f"{low:.3g} - {high:.3g}"]


def draw(result: dict[str, Any], path: Path) -> None:
    """A column for each size: time above, memory below."""
    columns = {
        axis.replace("_", " "): [
            (p["size"], p["step"]["median"], max(p["memory"].values())) for p in points if "step" in p
        ]
        for axis, points in result.get("updates", {}).items()
    }
    if "replay" in result:
        columns["frames in the replay"] = [
            (p["frames"], p["batch"]["median"], p["anonymous_bytes"])
            for p in result["replay"]
            if "batch" in p
        ]
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(
            2, len(columns), figsize=(2.6 * len(columns), 4.4), layout="constrained", squeeze=False
        )
        for (name, points), (above, below) in zip(columns.items(), axes.T, strict=True):
            what = "batch, ms" if name.startswith("frames") else "gradient step, ms"
            _panel(above, [(x, 1e3 * seconds) for x, seconds, _ in points], what)
            _panel(below, [(x, count / 2**30) for x, _, count in points], "memory, GiB")
            below.set_xlabel(name)
        figure.savefig(path, dpi=150)
        plt.close(figure)


def _panel(axis: Any, points: list[tuple[float, float]], label: str) -> None:
    axis.plot(*zip(*points, strict=True) if points else ([], []), color=OURS, marker="o", markersize=3)
    axis.set_ylabel(label)
    axis.set_xlim(left=0)
    axis.set_ylim(bottom=0)


if __name__ == "__main__":
    main()
