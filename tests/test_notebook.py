"""The notebook runs from top to bottom, draws its pictures, and is kept without them."""

import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib import pyplot

NOTEBOOK = json.loads((Path(__file__).parents[1] / "examples" / "quickstart.ipynb").read_text())
CODE = ["".join(cell["source"]) for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def test_every_cell_runs_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pyplot, "show", lambda: drawn.append(len(pyplot.gcf().axes)))
    mpl.use("agg")
    names: dict[str, Any] = {}
    for cell in CODE:
        exec(cell.replace('env="toy:dot"', 'env="toy:dot", steps=400, threads=1, device="cpu"'), names)
    assert drawn == [1, 16, 8]
    assert (tmp_path / "policy.pt").exists()
    assert names["result"].env_step == 400
    pyplot.close("all")


def test_no_output_is_kept() -> None:
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in NOTEBOOK["cells"])
    assert NOTEBOOK["nbformat"] == 4
