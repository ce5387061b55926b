"""Everything there is to find out on a GPU machine, in one call of limited length.

    tests       the tests that need a GPU
    agreement   captured against eager in float32, and bfloat16 against float32
    bench       `dreamer bench`, every path in both precisions
    sharing     several training processes at once (left out unless asked for by --steps)
    scale       how time and memory grow (left out unless asked for by --steps)
    train       `walker_walk`, preset `paper`, for as long as is left; a second call goes on with it

A step that fails is recorded and the next one begins; the exit status is then 1. Into --out go summary.json,
log.txt with all that was printed, bench.json, and of training metrics.jsonl, config.json and curve.png.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from tables import write_json

ROOT = Path(__file__).resolve().parents[1]
Step = Literal["tests", "agreement", "bench", "sharing", "scale", "train"]
Result = dict[str, Any]
LIMITS = {"tests": 120.0, "agreement": 90.0, "bench": 200.0, "sharing": 240.0, "scale": 400.0}
"""Seconds after which a step is ended, so that something is left for training."""
TINY: dict[str, Any] = {
    "image_size": 32,
    "time_limit": 20,
    "batch_size": 2,
    "batch_length": 3,
    "horizon": 2,
    "plan_candidates": 20,
    "plan_elites": 5,
}


@dataclass(frozen=True)
class Options:
    """Check, measure and train on a GPU machine, in one call."""

    out: Path
    """Folder for what was found out."""
    logdir: Path = Path("runs/gpu-walker_walk")
    """The run: a second call with the same one goes on with it."""
    seconds: float = 570.0
    """How long the whole call may take."""
    steps: tuple[Step, ...] = ("tests", "agreement", "bench", "train")
    """What to do, in this order."""
    saving: float = 45.0
    """Seconds of these that are kept for the last checkpoint and the curve."""
    smoke: bool = False
    """Everything at tiny sizes, to see that it works."""
    bench: str = ""
    """Further options of `dreamer bench`, in one word: --bench="--only update"."""
    train: str = ""
    """Further options of `dreamer train`, in one word: --train="--num-envs 8"."""


class StepError(Exception):
    """A step has failed; the message says how. `result` is what it found out all the same."""

    def __init__(self, message: str, result: Result | None = None) -> None:
        super().__init__(message)
        self.result = result or {}


class Call:
    """One call of the script: its steps, its log and its deadline."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.deadline = time.monotonic() + options.seconds
        options.out.mkdir(parents=True, exist_ok=True)
        self.log = options.out / "log.txt"
        self.summary: Result = {"seconds": options.seconds, "smoke": options.smoke, "steps": {}}

    def run(self) -> bool:
        """Take all steps; returns whether all went well."""
        for name in self.options.steps:
            started = time.monotonic()
            entry = self._step(name)
            entry["seconds"] = round(time.monotonic() - started, 1)
            self.summary["steps"][name] = entry
            write_json(self.options.out / "summary.json", self.summary)  # whatever comes after
            print(f"{name}: {'ok' if entry['ok'] else entry['error']} ({entry['seconds']} s)")
        return all(entry["ok"] for entry in self.summary["steps"].values())

    def _step(self, name: str) -> Result:
        try:
            return {"ok": True, **STEPS[name](self)}
        except StepError as failure:
            return {"ok": False, "error": str(failure), **failure.result}
        except Exception as error:  # a fault of this script must not lose the other steps' results
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}

    def left(self) -> float:
        """Seconds until the deadline."""
        return self.deadline - time.monotonic()

    def command(
        self, line: Sequence[object], limit: float, stop: signal.Signals = signal.SIGKILL
    ) -> tuple[int, str]:
        """Run a command for `limit` seconds at most, then send it `stop`. Returns its status and output."""
        words = list(map(str, line))
        with self.log.open("a") as log:
            log.write(f"\n$ {' '.join(words)}\n")
            log.flush()
            begin = self.log.stat().st_size
            process = subprocess.Popen(
                words, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
            try:
                status = process.wait(max(1.0, limit))
            except subprocess.TimeoutExpired:
                status = _end(process, stop, self.options.saving)
            except BaseException:  # this script itself is asked to stop
                _end(process, stop, self.options.saving)
                raise
        return status, self.log.read_bytes()[begin:].decode(errors="replace")

    def checked(self, line: Sequence[object], limit: float) -> str:
        """The output of a command that must end well and in time."""
        limit = min(limit, self.left())
        status, output = self.command(line, limit)
        if status == -signal.SIGKILL:
            raise StepError(f"ended after {limit:.0f} s")
        if status:
            raise StepError(f"exit status {status}: {_last_line(output)}")
        return output


def _end(process: "subprocess.Popen[bytes]", stop: signal.Signals, patience: float) -> int:
    """Ask a command to stop; if it does not, end it and all that it has started."""
    process.send_signal(stop)
    with suppress(subprocess.TimeoutExpired):
        process.wait(patience)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    return process.wait()


def _last_line(output: str) -> str:
    return next((line.strip() for line in reversed(output.splitlines()) if line.strip()), "no output")


def _python(*arguments: object) -> list[object]:
    return [sys.executable, *arguments]


def _tiny(*names: str) -> list[str]:
    """Options of a run at tiny sizes, for the command line."""
    return [word for name in names or TINY for word in (f"--{name.replace('_', '-')}", str(TINY[name]))]


# -- the steps -------------------------------------------------------------------------------------------


def tests(call: Call) -> Result:
    """Every file with a test marked `gpu`; nothing else, so that no other package is missed."""
    files = [
        path for path in sorted((ROOT / "tests").rglob("test_*.py")) if "pytest.mark.gpu" in path.read_text()
    ]
    # No file of settings: it asks for plugins that such a machine may not have.
    settings = ["-c", os.devnull, "--rootdir", ROOT, "-o", f"pythonpath={ROOT / 'src'} {ROOT / 'tests'}"]
    line = ["-m", "pytest", *settings, "-p", "no:cacheprovider", "--import-mode=importlib", "-q", "-m", "gpu"]
    only_collect = ["--collect-only"] if call.options.smoke else []
    return {"said": _last_line(call.checked(_python(*line, *only_collect, *files), LIMITS["tests"]))}


def agreement(call: Call) -> Result:
    """The fast ways against the reference."""
    sizes = ["--preset", "debug", "--options", json.dumps(TINY)] if call.options.smoke else []
    limit = min(LIMITS["agreement"], call.left())
    status, output = call.command(_python("benchmarks/agreement.py", *sizes), limit)
    try:
        found = json.loads(_last_line(output))
    except ValueError:
        raise StepError(f"exit status {status}: {_last_line(output)}") from None
    if status:
        bad = ", ".join(f"{x['path']} {x['precision']} by {x['worst']:.2g}" for x in found if not x["good"])
        raise StepError(f"too far from the reference: {bad}", {"compared": found})
    return {"compared": found}


def bench(call: Call) -> Result:
    """`dreamer bench` into bench.json."""
    out = call.options.out.resolve() / "bench.json"
    smoke = ["--preset", "debug", *_tiny(), "--repeats", 1, "--rounds", 2, "--threads", 1]
    sizes = smoke if call.options.smoke else ["--preset", "paper", "--env", "dmc:walker_walk"]
    line = ["-m", "dreamer", "bench", *sizes, "--precisions", "float32", "bfloat16", "--json", out]
    call.checked(_python(*line, *call.options.bench.split()), LIMITS["bench"])
    steps = [f for f in json.loads(out.read_text())["figures"] if f["group"] in ("gradient step", "training")]
    return {"figures": {_name(figure): figure["median"] for figure in steps}}


def _name(figure: Result) -> str:
    variant = figure["variant"]
    return f"{figure['name']} ({figure['unit']}, {variant['precision']}, {variant['path']})"


def sharing(call: Call) -> Result:
    """Several processes on the GPU."""
    smoke = [
        "--preset",
        "debug",
        "--processes",
        1,
        2,
        "--seconds",
        0.2,
        "--batch-size",
        2,
        "--batch-length",
        3,
    ]
    sizes = [*smoke, "--threads", 1] if call.options.smoke else ["--preset", "paper"]
    with_folder = ["--out", call.options.out.resolve()]
    call.checked(_python("benchmarks/sharing.py", *with_folder, *sizes), LIMITS["sharing"])
    return {"rows": json.loads((call.options.out / "sharing.json").read_text())["rows"]}


def scale(call: Call) -> Result:
    """Growth of time and memory."""
    smoke = ["--preset", "debug", "--axes", '{"horizon": [2, 3]}', "--options", json.dumps(TINY)]
    sizes = [*smoke, "--repeats", 1, "--frames", 100] if call.options.smoke else ["--preset", "paper"]
    with_folder = ["--out", call.options.out.resolve()]
    call.checked(_python("benchmarks/scale.py", *with_folder, *sizes), LIMITS["scale"])
    return {"files": ["scale.json", "scale.md", "scale.png"]}


def train(call: Call) -> Result:
    """Train until the time is up; the signal that ends it saves a checkpoint."""
    options, logdir = call.options, call.options.logdir.resolve()
    smoke = ["--preset", "debug", *_tiny(), "--eval-every", 200, "--video-every", 0, "--threads", 1]
    sizes = smoke if options.smoke else ["--preset", "paper", "--env", "dmc:walker_walk"]
    line = ["-m", "dreamer", "train", *sizes, "--steps", 10_000_000 if options.smoke else 1_000_000]
    started, limit = time.monotonic(), call.left() - options.saving
    if limit < 5:
        raise StepError("no time was left for it")
    before = _newest(logdir).get("env_step", 0)
    words = _python(*line, "--logdir", logdir, *options.train.split())
    status, output = call.command(words, limit, stop=signal.SIGTERM)
    passed = time.monotonic() - started
    result = {**_record(call, logdir), "resumed": "Resuming" in output, "env_step_before": before}
    if "env_step" in result:
        result["frames_per_s_of_this_call"] = (result["env_step"] - before) / passed
    if status or not re.search(r"^(Stopped|Done) after", output, re.MULTILINE):
        raise StepError(f"exit status {status}: {_last_line(output)}", result)
    return result


def _newest(logdir: Path) -> Result:
    """The last line of a run's record, empty if there is none."""
    path = logdir / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    with suppress(ValueError, IndexError):
        return json.loads(lines[-1])
    return {}


def _record(call: Call, logdir: Path) -> Result:
    """Copy what a run has recorded, draw its curve if it was evaluated, and say how far it is."""
    for name in ("metrics.jsonl", "config.json"):
        if (logdir / name).is_file():
            shutil.copy(logdir / name, call.options.out / name)
    newest = _newest(logdir)
    told = ("env_step", "grad_step", "seconds", "time/env_steps_per_s")
    result = {name: newest[name] for name in told if name in newest}
    lines = (logdir / "metrics.jsonl").read_text().splitlines() if newest else []
    returns = {}
    for line in lines:
        if "eval/return" in (metrics := json.loads(line)):
            returns[metrics["env_step"]] = metrics["eval/return"]
    if returns:
        curve = call.options.out.resolve() / "curve.png"
        status, output = call.command(
            _python("-m", "dreamer", "plot", logdir, "--out", curve), call.options.saving
        )
        result["curve"] = _last_line(output) if status else curve.name
    return {**result, "eval_returns": returns}


STEPS: dict[str, Callable[[Call], Result]] = {
    "tests": tests,
    "agreement": agreement,
    "bench": bench,
    "sharing": sharing,
    "scale": scale,
    "train": train,
}


def main() -> None:
    call = Call(tyro.cli(Options, description=__doc__))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    raise SystemExit(0 if call.run() else 1)


if __name__ == "__main__":
    main()
