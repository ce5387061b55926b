"""The official weights by the recipe that made them, so that only their checksums need to be stored.

The recipe is in `tests/data/parity/README.md`. It uses NumPy's legacy generator, whose stream never changes.
"""

import functools
import itertools

import numpy as np
import torch
from torch import Tensor

from parity.recorded import DIRECTORY, Record, record

STOCH, DETER, HIDDEN, UNITS = 30, 200, 200, 400
HIDDEN_LAYERS = {"reward": 2, "value": 3, "pcont": 3, "actor": 4}

GAINS = {
    "rssm/obs1": 2,
    "rssm/obs2": 0.6,
    "rssm/img3": 0.5,
    "reward/hout": 3,
    "value/hout": 4,
    "pcont/hout": 4,
    "actor/hout": 2,
    "decoder/h5": 2,
}


@functools.cache
def official_weights() -> Record:
    """Read the weights from `weights.npz`, or generate them if the folder has no such file."""
    if (DIRECTORY / "weights.npz").exists():
        return record("weights")
    depth = record("a_encoder")["embed"].shape[-1] // 32
    actions = record("batch")["action"].shape[-1]
    return Record(generate(depth, actions, seed=int(record("full_depth")["seed"])))


def generate(depth: int, actions: int, seed: int) -> dict[str, Tensor]:
    """Generate all 63 tensors in the official layouts, for convolutions that are `depth` channels wide."""
    tensors = enumerate(sorted(_shapes(depth, actions).items()))
    return {name: _generate(name, shape, 1000 * seed + k) for k, (name, shape) in tensors}


def _shapes(depth: int, actions: int) -> dict[str, tuple[int, ...]]:
    embed = 32 * depth
    kernels = {
        "rssm/img1": (STOCH + actions, HIDDEN),
        "rssm/img2": (DETER, HIDDEN),
        "rssm/img3": (HIDDEN, 2 * STOCH),
        "rssm/obs1": (DETER + embed, HIDDEN),
        "rssm/obs2": (HIDDEN, 2 * STOCH),
        "decoder/h1": (STOCH + DETER, embed),
        "encoder/h1": (4, 4, 3, depth),
        "encoder/h2": (4, 4, depth, 2 * depth),
        "encoder/h3": (4, 4, 2 * depth, 4 * depth),
        "encoder/h4": (4, 4, 4 * depth, 8 * depth),
    }
    for head, layers in HIDDEN_LAYERS.items():
        sizes = [STOCH + DETER] + [UNITS] * layers + [2 * actions if head == "actor" else 1]
        names = [f"{head}/h{n}" for n in range(layers)] + [f"{head}/hout"]
        kernels |= dict(zip(names, itertools.pairwise(sizes), strict=True))
    shapes = {f"{layer}/kernel": shape for layer, shape in kernels.items()}
    shapes |= {f"{layer}/bias": shape[-1:] for layer, shape in kernels.items()}
    transposed = {
        "decoder/h2": (5, 5, 4 * depth, embed),
        "decoder/h3": (5, 5, 2 * depth, 4 * depth),
        "decoder/h4": (6, 6, depth, 2 * depth),
        "decoder/h5": (6, 6, 3, depth),
    }
    shapes |= {f"{layer}/kernel": shape for layer, shape in transposed.items()}
    shapes |= {f"{layer}/bias": shape[2:3] for layer, shape in transposed.items()}  # kernel: (h, w, out, in)
    gates = 3 * DETER
    gru = {"kernel": (HIDDEN, gates), "recurrent_kernel": (DETER, gates), "bias": (2, gates)}
    return shapes | {f"rssm/gru/{kind}": shape for kind, shape in gru.items()}


def _generate(name: str, shape: tuple[int, ...], seed: int) -> Tensor:
    random = np.random.RandomState(seed)
    if name.endswith("bias"):
        values = random.uniform(-0.2, 0.2, shape)
        if name == "actor/hout/bias":
            half = shape[0] // 2
            values[half:] = random.uniform(-6, 0, half)
        if name == "pcont/hout/bias":
            values += 2
    else:
        limit = np.sqrt(6 / _fan(name, shape)) * (1.5 if name.startswith("encoder") else 1)
        values = random.uniform(-limit, limit, shape) * GAINS.get(name.removesuffix("/kernel"), 1)
    return torch.from_numpy(values.astype(np.float32))


def _fan(name: str, shape: tuple[int, ...]) -> float:
    if len(shape) == 4:
        return shape[0] * shape[1] * (shape[2] + shape[3])
    return shape[0] + shape[1] / (3 if "/gru/" in name else 1)
