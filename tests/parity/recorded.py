"""The recorded numbers of the official code, and how near ours must come to them.

`tests/data/parity/README.md` describes every file. `DREAMER_PARITY_DIR` names another folder of the same
format; all sizes are read from the files.
"""

import functools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

DIRECTORY = Path(
    os.environ.get("DREAMER_PARITY_DIR") or Path(__file__).resolve().parents[1] / "data" / "parity"
)


GPU_SLACK = 10
"""The official numbers are a CPU's; a GPU adds up in another order, and has other exponentials."""


class Record(Mapping[str, Tensor]):
    """The tensors of a file whose names begin with `prefix`, by the rest of their names."""

    def __init__(self, tensors: Mapping[str, Tensor], prefix: str = ""):
        self.tensors, self.prefix = tensors, prefix

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[self.prefix + name]

    def __iter__(self) -> Iterator[str]:
        return (name.removeprefix(self.prefix) for name in self.tensors if name.startswith(self.prefix))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def under(self, prefix: str) -> "Record":
        return Record(self.tensors, self.prefix + prefix)


@functools.cache
def record(name: str) -> Record:
    """Everything in `name`.npz."""
    with np.load(DIRECTORY / f"{name}.npz", allow_pickle=False) as file:
        return Record({key: torch.from_numpy(np.asarray(file[key])) for key in file.files})


def assert_elements(ours: Tensor, official: Tensor, name: str = "") -> None:
    """Activations, states, distributions: within 1e-5, absolute and relative."""
    assert_near(ours, official, rtol=1e-5, atol=1e-5, name=name)


def assert_near(ours: Tensor, official: Tensor, rtol: float, atol: float = 0.0, name: str = "") -> None:
    """Same shape, and |ours - official| <= atol + rtol |official| everywhere; on a GPU a multiple of that."""
    slack = GPU_SLACK if ours.is_cuda else 1
    torch.testing.assert_close(
        ours.detach().cpu(),
        official,
        rtol=slack * rtol,
        atol=slack * atol,
        msg=lambda text: f"{name}: {text}",
    )


def assert_state(ours, official: Record, name: str = "") -> None:
    """All four parts of a latent state."""
    for part in ("mean", "std", "stoch", "deter"):
        assert_elements(getattr(ours, part), official[part], f"{name} {part}")


def norm(x: Tensor) -> Tensor:
    """The L2 norm, summed in float64: a float32 sum over a million elements is off by 1e-4 itself."""
    return x.detach().double().norm().float()


def assert_gradients(ours: Mapping[str, Tensor], official: Record, prefix: str) -> None:
    """Every tensor's norm (1e-4), and its elements within 1e-4 of the tensor's largest."""
    expected = official.under(prefix)
    assert set(ours) == set(expected.under("grad_norm/")), "not the same tensors"
    for name, gradient in ours.items():
        assert_near(norm(gradient), expected[f"grad_norm/{name}"], rtol=1e-4, name=name)
        atol = 1e-4 * float(gradient.abs().max())
        assert_samples(gradient, official, prefix, "grad", name, atol)


def assert_samples(ours: Tensor, official: Record, prefix: str, kind: str, name: str, atol: float) -> None:
    """The recorded elements of a tensor in the official layout, and all of it where that is recorded."""
    expected = official.under(prefix)
    positions = official[f"probe_idx/{name}"].long()
    assert_near(ours.flatten()[positions], expected[f"{kind}_probe/{name}"], 0, atol, name)
    if f"{kind}_full/{name}" in expected:
        assert_near(ours, expected[f"{kind}_full/{name}"], 0, atol, name)
