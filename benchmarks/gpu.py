"""Everything there is to find out on a GPU machine, in one call of limited length.

    ready       always first: does everything import, and can pictures be drawn? If not, from states
    tests       the tests that need a GPU
    agreement   captured against eager in float32, and bfloat16 against float32
    bench       `dreamer bench` of the run below, every path in both precisions
    sharing     several training processes at once (left out unless asked for by --steps)
    scale       how time and memory grow (left out unless asked for by --steps)
    train       `walker_walk`, preset `paper`, eight environments beside the learner, for as long as is left;
                a second call goes on with it

A step that fails is recorded and the next one begins; the exit status is then 1. Into --out go summary.json,
to which a second call adds, log.txt with all that was printed, bench.json, and of training
metrics.jsonl, config.json and curve.png. Every file is written as soon as there is something to write.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro
from tables import write_json

ROOT = Path(__file__).resolve().parents[1]
Step = Literal["tests", "agreement", "bench", "sharing", "scale", "train"]
Result = dict[str, Any]
LIMITS = {
    "ready": 150.0,
    "tests": 100.0,
    "agreement": 90.0,
    "bench": 190.0,
    "sharing": 240.0,
    "scale": 400.0,
}
"""Seconds after which a step is ended."""
TRAINING = 150.0
"""Seconds that the steps before training leave to it, whatever their limits."""
LEAST = 5.0
"""Seconds with which it is worth to begin anything."""
WORLDS = (("dmc:walker_walk", "image"), ("dmc:walker_walk", "state"), ("toy:dot", "image"))
"""What to learn and from what: the first that works on the machine."""
ENVIRONMENTS = 8
"""Whose decisions are taken beside the learner: a GPU would wait for a single one."""
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
    """Further options of `dreamer train`, in one word: --train="--num-envs 4"."""


class StepError(Exception):
    """A step has failed; the message says how. `result` is what it found out all the same.

    `output` is what a command that failed has printed.
    """

    def __init__(self, message: str, result: Result | None = None, output: str = "") -> None:
        super().__init__(message)
        self.result, self.output = result or {}, output


class Call:
    """One call of the script: its steps, its log and its deadline."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.deadline = time.monotonic() + options.seconds
        options.out.mkdir(parents=True, exist_ok=True)
        self.log = options.out / "log.txt"
        self.summary = self._summary_so_far()
        self.env, self.obs = WORLDS[0]
        self.reserved = 0.0  # seconds that belong to a later step

    def _summary_so_far(self) -> Result:
        """What earlier calls have found out."""
        path = self.options.out / "summary.json"
        before: Result = {}
        with suppress(OSError, ValueError):
            before = json.loads(path.read_text())
        return {"smoke": self.options.smoke, "steps": before.get("steps", {})}

    def run(self) -> bool:
        """Take all steps; returns whether all went well."""
        steps = ("ready", *self.options.steps)
        went_well = [self._take(name, "train" in steps[n + 1 :]) for n, name in enumerate(steps)]
        return all(went_well)

    def _take(self, name: str, training_follows: bool) -> bool:
        """Take one step and write down what it gave, also if this script is asked to stop meanwhile."""
        self.reserved = TRAINING if training_follows and self.options.seconds > 2 * TRAINING else 0.0
        started, entry = time.monotonic(), {"ok": False, "error": "this script was stopped"}
        try:
            entry = self._step(name)
        finally:
            entry["seconds"] = round(time.monotonic() - started, 1)
            self.summary["steps"][name] = entry
            write_json(self.options.out / "summary.json", self.summary)
        print(f"{name}: {'ok' if entry['ok'] else entry['error']} ({entry['seconds']} s)")
        return bool(entry["ok"])

    def _step(self, name: str) -> Result:
        try:
            return {"ok": True, **STEPS[name](self)}
        except StepError as failure:
            return {"ok": False, "error": str(failure), **failure.result}
        except Exception as error:  # a fault of this script must not lose the other steps' results
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}

    def left(self) -> float:
        """Seconds until the deadline, or until what is reserved for a later step."""
        return self.deadline - self.reserved - time.monotonic()

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
                status = _end(process, stop, self._patience())
            except BaseException:  # this script itself is asked to stop
                _end(process, stop, self._patience())
                raise
        return status, self.log.read_bytes()[begin:].decode(errors="replace")

    def _patience(self) -> float:
        """Seconds in which a command that was asked to stop may save what it has, some being kept for us."""
        return max(1.0, min(self.options.saving, self.deadline - time.monotonic() - LEAST))

    def checked(self, line: Sequence[object], limit: float) -> str:
        """The output of a command that must end well and in time."""
        limit = min(limit, self.left())
        if limit < LEAST:
            raise StepError("no time was left for it")
        status, output = self.command(line, limit)
        if status == -signal.SIGKILL:
            raise StepError(f"ended after {limit:.0f} s", output=output)
        if status:
            raise StepError(f"exit status {status}: {_last_line(output)}", output=output)
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


def ready(call: Call) -> Result:
    """Find the first of the worlds that works here, each tried in a process that may hang."""
    tried: dict[str, str] = {}
    for env, obs in WORLDS[2:] if call.options.smoke else WORLDS:
        try:
            output = call.checked(_python("benchmarks/ready.py", env, obs), LIMITS["ready"] / 2)
        except StepError as failure:
            tried[f"{env} from {obs}s"] = str(failure)
            continue
        found = json.loads(_last_line(output))
        call.env, call.obs = env, obs
        if found["backend"]:
            os.environ["MUJOCO_GL"] = found["backend"]  # so that no later process looks for it again
        if tried:
            raise StepError(
                f"{env} from {obs}s instead of what does not work here ({_reasons(tried)})", found
            )
        return found
    raise StepError(f"nothing can be trained here ({_reasons(tried)})")


def _reasons(tried: dict[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in tried.items())


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
    """The fast ways against the reference: what benchmarks/agreement.py finds, as far as it comes."""
    small = {"preset": "debug", **TINY} if call.options.smoke else {"preset": "paper"}
    preset, sizes = small.pop("preset"), small
    line = ["benchmarks/agreement.py", "--preset", preset, "--options", json.dumps(sizes)]
    error, output = "", ""
    try:
        output = call.checked(_python(*line), LIMITS["agreement"])
    except StepError as failure:
        error, output = str(failure), failure.output
    found = _parsed(line for line in output.splitlines() if line.startswith("{"))
    bad = ", ".join(f"{x['path']} {x['precision']} by {x['worst']:.2g}" for x in found if not x["good"])
    if bad:
        error = f"too far from the reference: {bad}"
    if error:
        raise StepError(error, {"compared": found})
    return {"compared": found}


def bench(call: Call) -> Result:
    """`dreamer bench` into bench.json."""
    extra = ["--precisions", "bfloat16", "float32", *call.options.bench.split()]
    return _bench(call, "bench.json", extra, LIMITS["bench"])


def _bench(call: Call, name: str, extra: list[str], limit: float) -> Result:
    """The figures that matter most, as far as it comes; all are in the file."""
    out = _new_file(call, name)
    smoke = ["--preset", "debug", *_tiny(), "--repeats", 1, "--rounds", 2, "--threads", 1]
    sizes = smoke if call.options.smoke else ["--preset", "paper"]
    line = ["-m", "dreamer", "bench", *sizes, *_run(call), "--json", out]
    try:
        return _main_figures(_as_far_as_it_comes(call, _python(*line, *extra), limit, out))
    except StepError as failure:
        raise StepError(str(failure), _main_figures(failure.result)) from failure


def _main_figures(report: Result) -> Result:
    """The medians of gradient steps and of training."""
    figures = [f for f in report.get("figures", []) if f["group"] in ("gradient step", "training")]
    return {"figures": {_name(figure): figure["median"] for figure in figures}}


def _new_file(call: Call, name: str) -> Path:
    """Where a step writes what it has found so far; what an earlier call has left there is set aside."""
    path = call.options.out.resolve() / name
    if path.exists():
        path.replace(path.with_suffix(".before.json"))
    return path


def _run(call: Call) -> list[object]:
    """Options of the run, but for its sizes."""
    count = 2 if call.options.smoke else ENVIRONMENTS
    return ["--env", call.env, "--obs", call.obs, "--async-collect", "--num-envs", count]


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
    out = _new_file(call, "sharing.json")
    line = _python("benchmarks/sharing.py", "--out", out.parent, *sizes)
    return _as_far_as_it_comes(call, line, LIMITS["sharing"], out)


def scale(call: Call) -> Result:
    """Growth of time and memory."""
    smoke = ["--preset", "debug", "--axes", '{"horizon": [2, 3]}', "--options", json.dumps(TINY)]
    sizes = [*smoke, "--repeats", 1, "--frames", 100] if call.options.smoke else ["--preset", "paper"]
    out = _new_file(call, "scale.json")
    line = _python("benchmarks/scale.py", "--out", out.parent, *sizes)
    return _as_far_as_it_comes(call, line, LIMITS["scale"], out)


def _as_far_as_it_comes(call: Call, line: Sequence[object], limit: float, out: Path) -> Result:
    """Run a command that writes what it finds into `out`, and return that even if it fails."""
    error = ""
    try:
        call.checked(line, limit)
    except StepError as failure:
        error = str(failure)
    found = json.loads(out.read_text()) if out.exists() else {}
    if error:
        raise StepError(error, found)
    return found


def train(call: Call) -> Result:
    """Train until the time is up; the signal that ends it saves a checkpoint."""
    options, logdir = call.options, _logdir(call)
    smoke = ["--preset", "debug", *_tiny(), "--eval-every", 200, "--threads", 1]
    sizes = smoke if options.smoke else ["--preset", "paper", "--eval-every", 20_000]
    # No videos: they need a program that such a machine may not have.
    line = ["-m", "dreamer", "train", *sizes, *_run(call), "--video-every", 0]
    started, limit = time.monotonic(), call.left() - options.saving
    if limit < LEAST:
        raise StepError("no time was left for it")
    before = _newest(logdir).get("env_step", 0)
    steps = 10_000_000 if options.smoke else 1_000_000
    words = _python(*line, "--steps", steps, "--logdir", logdir, *options.train.split())
    status, output = call.command(words, limit, stop=signal.SIGTERM)
    passed = time.monotonic() - started
    result = {"env": call.env, "obs": call.obs, **_record(call, logdir)}
    result |= {"resumed": "Resuming" in output, "env_step_before": before}
    if "env_step" in result:
        result["frames_per_s_of_this_call"] = (result["env_step"] - before) / passed
    if status or not re.search(r"^(Stopped|Done) after", output, re.MULTILINE):
        raise StepError(f"exit status {status}: {_last_line(output)}", result)
    return result


def _logdir(call: Call) -> Path:
    """The run's directory: of what is trained in place of the first world, one beside it."""
    logdir = call.options.logdir.resolve()
    instead = "" if call.options.smoke or (call.env, call.obs) == WORLDS[0] else f"-{call.env}-{call.obs}"
    return logdir.with_name(logdir.name + instead.replace(":", "-"))


def _newest(logdir: Path) -> Result:
    """The last line of a run's record, empty if there is none."""
    return next(reversed(_lines(logdir)), {})


def _lines(logdir: Path) -> list[Result]:
    """A run's record."""
    path = logdir / "metrics.jsonl"
    return _parsed(path.read_text().splitlines()) if path.is_file() else []


def _parsed(lines: Iterable[str]) -> list[Result]:
    """What is in lines of JSON; the last may be cut off."""
    found = []
    for line in lines:
        with suppress(ValueError):
            found.append(json.loads(line))
    return found


def _record(call: Call, logdir: Path) -> Result:
    """Copy what a run has recorded, draw its curve if it was evaluated, and say how far it is."""
    for name in ("metrics.jsonl", "config.json"):
        if (logdir / name).is_file():
            shutil.copy(logdir / name, call.options.out / name)
    newest = _newest(logdir)
    told = ("env_step", "grad_step", "seconds", "time/env_steps_per_s")
    result = {name: newest[name] for name in told if name in newest}
    returns = {x["env_step"]: x["eval/return"] for x in _lines(logdir) if "eval/return" in x}
    if returns:
        curve = call.options.out.resolve() / "curve.png"
        line = _python("-m", "dreamer", "plot", logdir, "--out", curve)
        status, output = call.command(line, call.left() - 1)
        result["curve"] = f"not drawn: {_last_line(output)}" if status else curve.name
    return {**result, "eval_returns": returns}


STEPS: dict[str, Callable[[Call], Result]] = {
    "ready": ready,
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
