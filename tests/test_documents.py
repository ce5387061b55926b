"""Everything that the documents name exists, and what exists is named.

The lab log is left out: it is history, and its commands have the names of their time.
"""

import contextlib
import inspect
import io
import re
import subprocess
from dataclasses import asdict, fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dreamer import cli
from dreamer.baselines.options import A3CConfig, D4PGConfig
from dreamer.config import Config, flag, to_flat
from dreamer.logs.logger import Logger
from dreamer.sweep.sweep import Sweep
from functions_of_an_update import count
from helpers import KINDS, random_batch, small_agent

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "dreamer"
DOCUMENTS = sorted(
    path
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    if path.name != "lab-log.md"
)
each_document = pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))

OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
COMMAND = re.compile(r"(?<![\w./-])dreamer ([a-z]+)\b([^\n`#]*)")
OTHER_PROGRAMS = {"--help", "--version", "--standalone", "--nproc-per-node"}
"""Options that every command has, and those of torchrun."""
METRIC_GROUPS = ("train", "eval", "env", "time", "memory", "model", "decoder", "actor", "value", "imagine")
MADE_BY_COMMANDS = {
    ".venv/bin/dreamer",
    "build/",
    "checkpoint/none-yet",
    "report/index.html",
    "report/videos",
    "wandb/",
    "arm/joints",
    "arm/0",
    "goal/0",
}
"""Files and folders that are no part of the repository, and names of parts of an observation."""


def code(path: Path) -> list[str]:
    """All code of a document: its blocks, with continued lines joined, and what stands between backticks."""
    text = path.read_text()
    blocks = re.findall(r"^```.*?\n(.*?)^```", text, re.M | re.S)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    return [block.replace("\\\n", " ") for block in blocks] + inline


def written_out(options: dict[str, Any]) -> set[str]:
    """Options as they are written, those that switch something off included."""
    off = {flag(f"no_{name}") for name, value in options.items() if isinstance(value, bool)}
    return {flag(name) for name in options} | off


def dreamer_options() -> set[str]:
    """Every option of a run of Dreamer."""
    return written_out(to_flat(Config()))


def run_options() -> set[str]:
    """Every option of a run, of any agent."""
    return dreamer_options() | written_out(asdict(A3CConfig())) | written_out(asdict(D4PGConfig()))


def options_of(command: str) -> set[str]:
    """Every option of a command."""
    if command == "sweep":
        return run_options() | {flag(field.name) for field in fields(Sweep)} | OTHER_PROGRAMS
    own = {flag(name) for name in inspect.signature(cli.COMMANDS[command]).parameters if name != "options"}
    return own | OTHER_PROGRAMS | (run_options() if command in cli.OF_A_RUN else set())


def headings(path: Path) -> set[str]:
    """Anchors of a document's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@each_document
def test_options_exist(path: Path) -> None:
    known = set().union(*map(options_of, cli.COMMANDS))
    assert set(OPTION.findall(path.read_text())) <= known


@each_document
def test_commands_exist_and_take_their_options(path: Path) -> None:
    calls = [call for text in code(path) for call in COMMAND.findall(text)]
    assert {command for command, _ in calls} <= {*cli.COMMANDS}
    wrong = {call for call in calls if not set(OPTION.findall(call[1])) <= options_of(call[0])}
    assert not wrong


@each_document
def test_links_lead_somewhere(path: Path) -> None:
    def leads_somewhere(link: str) -> bool:
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        return target.exists() and (not anchor or anchor in headings(target))

    links = re.findall(r"\]\(([^)\s]+)\)", path.read_text())
    assert not [link for link in links if not link.startswith("https://") and not leads_somewhere(link)]


def is_path(word: str) -> bool:
    """Whether code names a file or folder, and none of a METHOD or of a run."""
    if word in MADE_BY_COMMANDS or word.split("/")[0] in METRIC_GROUPS:
        return False
    if any(part.isupper() for part in re.split(r"[/.]", word)):
        return False
    return bool(re.fullmatch(r"[\w.-]*/[\w./-]*|[\w-]+\.(py|sh)", word))


def exists(name: str) -> bool:
    """Whether a name is a file or folder of the repository: from its root, from the package, or a file's bare name."""
    if "/" in name:
        return (ROOT / name).exists() or (PACKAGE / name).exists()
    return any(any((ROOT / folder).rglob(name)) for folder in ("src", "tests", "benchmarks", "examples"))


@each_document
def test_files_exist(path: Path) -> None:
    assert not [word for word in code(path) if is_path(word) and not exists(word)]


@each_document
def test_attributes_exist(path: Path) -> None:
    """Names such as `RSSM.observe`: the class is in the package, and its file has the attribute."""
    sources = [source.read_text() for source in PACKAGE.rglob("*.py")]

    def is_there(kind: str, attribute: str) -> bool:
        files = [text for text in sources if re.search(rf"^class {kind}\b", text, re.M)]
        return any(re.search(rf"\b{attribute}\b", text) for text in files)

    names = [re.fullmatch(r"([A-Z]+[a-z]\w*|RSSM|MLP)\.(\w+)", word) for word in code(path)]
    assert not [name[0] for name in names if name and not is_there(*name.groups())]


def test_layout_names_every_folder() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    (layout,) = re.findall(r"^```\nsrc/dreamer/\n(.*?)^```", text, re.M | re.S)
    named = set(re.findall(r"^  (\w+)/", layout, re.M))
    assert named == {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert all((PACKAGE / name).exists() for name in re.findall(r"\w+\.py", layout))


def test_size_of_an_update_is_what_the_command_counts() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    said = re.search(r"one reads (\d+) files with ([\d,]+) lines:\n\n```sh\n(.*?)\n```", text, re.S)
    assert said
    counted = subprocess.run(["bash", "-c", said[3]], cwd=ROOT, capture_output=True, text=True, check=True)
    *files, total = counted.stdout.splitlines()
    assert len(files) == int(said[1])
    # Within 5 %: not every commit has to change the page.
    assert int(total.split()[0]) == pytest.approx(int(said[2].replace(",", "")), rel=0.05)


def test_functions_of_an_update_are_those_that_it_passes() -> None:
    text = (ROOT / "docs" / "algorithm.md").read_text()
    said = re.findall(r"^\| (?:one gradient step|the same with loop).*? \| (\d+) \| (\d+) \|$", text, re.M)[
        -2:
    ]
    for (functions, files), counted in zip(said, count().values(), strict=True):
        # Within 5 %: not every commit has to change the page.
        assert sum(map(len, counted.values())) == pytest.approx(int(functions), rel=0.05)
        assert len(counted) == pytest.approx(int(files), rel=0.05)


def test_help_of_train_names_every_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        assert cli.run(["train", "--help"]) == 0
    named = set(OPTION.findall(shown.getvalue()))
    assert named == dreamer_options() | {"--preset", "--config", "--logdir"}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Every key that runs write to `metrics.jsonl`: of each agent and objective, episodes, evaluations and a GPU."""
    counters: Any = SimpleNamespace(env_step=0, agent_step=0, grad_step=0, seconds=0.0)
    logger = Logger(tmp_path_factory.mktemp("run"), counters, total_env_steps=1)
    logger.episode(0.0, 1)
    logger.evaluation([0.0], [1])
    logger.env_failure(1)
    for spec, options in KINDS.values():
        metrics = small_agent(spec, **options).update(random_batch(spec))
        logger.update(metrics, metrics.pop("skipped"))
        counters.grad_step += 1
    logger.round()
    return set(re.findall(r'"([\w/]+)":', logger.writer.path.read_text())) | {"memory/gpu"}


def test_metrics_are_those_that_runs_write(written: set[str]) -> None:
    text, _ = (ROOT / "docs" / "metrics.md").read_text().split("\n## Videos\n")
    documented = set(re.findall(r"^\| `([\w/]+)` \|", text, re.M))
    # The image stands for every observation: `model/<key>_loss`.
    assert documented == written - {"model/state_loss", "model/state_error"}


@each_document
def test_metrics_exist(path: Path, written: set[str]) -> None:
    if path.name == "baselines.md":  # it lists the metrics of D4PG and A3C, which their own tests write
        return
    named = {word for word in code(path) if re.fullmatch(rf"({'|'.join(METRIC_GROUPS)})/\w+", word)}
    assert named <= written
