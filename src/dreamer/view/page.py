"""Write the page: one HTML file with the models, a recording of each run, and the runtime that executes them."""

import base64
import gzip
import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from dreamer.config import EnvConfig
from dreamer.envs.dmc import load_dmc
from dreamer.errors import UserError
from dreamer.replay.store import EpisodeStore
from dreamer.storage.atomic_file import atomic_file
from dreamer.storage.load import load_run
from dreamer.view.graphs import act_noise, graphs, world_of
from dreamer.view.recording import COLUMNS, Recording, record
from dreamer.view.runtime import Runtime, read_runtime

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = ("unpack.js", "dream.js", "traces.js", "controls.js", "page.js")
STEP_SECONDS = 0.05
"""Seconds of an agent step outside the Control Suite."""


@dataclass(frozen=True)
class Dream:
    """One run on the page: `facts` for the script, and binary `parts` by name."""

    facts: dict[str, Any]
    parts: dict[str, bytes]


def write_view(runs: Sequence[Path], out: Path) -> Path:
    """Write `out`, a page in which a person steers inside the world model of each run.

    Raises `UserError` if there is no run, if one of them has no images, no decoder, no checkpoint or no episode, or if
    `out` cannot be written.
    """
    if not runs:
        raise UserError("Nothing to view: name at least one run directory.")
    if not out.absolute().parent.is_dir():
        raise UserError(f"The directory of {out} does not exist: make it, or choose another --out.")
    runtime = read_runtime()
    dreams = [dream_of(run) for run in runs]
    with atomic_file(out) as file:
        file.write(render(dreams, runtime).encode())
    return out


def dream_of(run: Path) -> Dream:
    """Return what the page needs of a run."""
    trained = load_run(run, device="cpu", fast=False)
    agent, spec = trained.agent, trained.agent.spec
    algorithm = world_of(agent)
    recording = record(agent, EpisodeStore(trained.directory.replay, mode="r"))
    rssm = algorithm.world_model.rssm
    facts = {
        "name": run.resolve().name,
        "task": trained.config.environment.env.partition(":")[2].replace("_", " "),
        "env_step": trained.env_step,
        "sizes": {"stoch": rssm.stoch, "deter": rssm.deter, "action": spec.action.size},
        "groups": spec.action.groups,
        "act_noise": act_noise(spec.action),
        "columns": COLUMNS,
        **_about_environment(trained.config.environment, spec.action.size),
        **_about_recording(recording),
    }
    parts = {**graphs(agent), "numbers": recording.numbers(), "sheet": recording.sheet()}
    return Dream(facts, parts)


def _about_environment(config: EnvConfig, actions: int) -> dict[str, Any]:
    """Return the seconds of an agent step and names of the actions: those of the Control Suite, else general ones.

    No other environment is made, because its code may be missing here, or not be trusted.
    """
    kind, _, name = config.env.partition(":")
    if kind != "dmc":
        return {"seconds": STEP_SECONDS, "actions": [f"action {i + 1}" for i in range(actions)]}
    with closing(load_dmc(name, config)) as env:
        return {"seconds": env.frame_seconds * config.repeat, "actions": env.action_names}


def _about_recording(recording: Recording) -> dict[str, Any]:
    steps, height, width, _ = recording.images.shape
    return {"steps": steps, "height": height, "width": width}


def render(dreams: Sequence[Dream], runtime: Runtime) -> str:
    """Return the page as text."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    script = runtime.script.partition(b"//# sourceMappingURL")[0]
    parts = {"runtime-script": script, "runtime-wasm": runtime.wasm}
    parts |= {f"{i}-{name}": part for i, dream in enumerate(dreams) for name, part in dream.parts.items()}
    return environment.get_template("page.html").render(
        dreams=[dream.facts for dream in dreams],
        parts={name: _packed(part) for name, part in parts.items()},
        # A `<` in a name could end the script element.
        facts=Markup(json.dumps([dream.facts for dream in dreams]).replace("<", "\\u003c")),
        style=_text("style.css"),
        script=Markup("\n").join(_text(name) for name in SCRIPTS),
        license=_text("license.txt"),
        version=version("dream-to-control"),
    )


def _packed(content: bytes) -> str:
    """Compress for the browser's DecompressionStream; without the time, so that equal inputs give equal pages."""
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def _text(name: str) -> Markup:
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))
