"""weights.sha256: the generated weights are, bit for bit, those that the official code ran with."""

import hashlib
from pathlib import Path

from torch import Tensor

from parity.recipe import generate

CHECKSUMS = Path(__file__).resolve().parents[1] / "data" / "parity" / "weights.sha256"


def checksum(x: Tensor) -> str:
    """The SHA-256 of the elements in C order, little-endian on every machine."""
    return hashlib.sha256(x.numpy().astype("<f4").tobytes()).hexdigest()


def test_generated_weights_have_the_recorded_checksums() -> None:
    recorded = [line.split() for line in CHECKSUMS.read_text().splitlines()]
    weights = generate(depth=8, actions=6, seed=11)
    assert [[checksum(x), name] for name, x in weights.items()] == recorded
