"""What a policy file holds, and whether it is sound.

The file is that of `torch.save`: a dictionary of the format's name, the spec of the environment, all options, the
weights, and a SHA-256 over all of these. A file that ends in .xz is compressed, and has its weights in float16.
"""

import hashlib
import io
import json
import logging
import lzma
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dreamer.agents.make import ALGORITHMS
from dreamer.config import Config, from_file
from dreamer.errors import UserError
from dreamer.storage.atomic_file import atomic_file
from dreamer.storage.regular_file import read_regular
from dreamer.types import EnvSpec

FORMAT = "dreamer-policy-2"
"""Stands in every file, and changes with what is in it."""

MOST_PACKED = 20
"""How many times its size a compressed file may unpack to; weights have hardly anything to compress."""

_KEYS = {"format", "spec", "options", "weights"}
_logger = logging.getLogger(__name__)


class Content(NamedTuple):
    """The environment's kind, all options, and the weights of all networks that acting needs."""

    spec: EnvSpec
    config: Config
    weights: dict[str, Tensor]


def with_checksum(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what goes into the file."""
    return {**content, "checksum": _checksum(content)}


def write_policy_file(file: Path, content: Mapping[str, Any]) -> None:
    """Write `content` with its checksum, whole or not at all. Raises `UserError` if the disk refuses."""
    small = file.suffix == ".xz"
    weights = {
        name: x.half() if small and x.is_floating_point() else x for name, x in content["weights"].items()
    }
    buffer = io.BytesIO()
    torch.save(with_checksum({**content, "weights": weights}), buffer)
    data = buffer.getvalue()
    with atomic_file(file) as out:
        out.write(lzma.compress(data, preset=9) if small else data)


def read_policy_file(file: Path) -> Content:
    """Read and check a policy file. Raises `UserError` if it is none, damaged, or of another version."""
    try:
        data = _bounded(read_regular(file), file.suffix == ".xz")
        content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling raises almost anything
        raise UserError(f"{file} cannot be read as a policy: write one with `dreamer export`.") from error
    if not isinstance(content, dict) or not str(content.get("format")).startswith("dreamer-policy-"):
        raise UserError(f"{file} is no policy: write one with `dreamer export`.")
    if content["format"] != FORMAT or "options" not in content:
        raise UserError(f"{file} was written by another version of this program: use that version for it.")
    try:
        _check_content(file, content, len(data))
        spec, config = EnvSpec.from_dict(content["spec"]), from_file(content["options"])
        weights = {
            name: tensor.float() if tensor.dtype == torch.float16 else tensor
            for name, tensor in content["weights"].items()
        }
        _check_weights(weights, spec, config)
    except Exception as error:
        raise UserError(f"{file} is damaged ({error}): write it again with `dreamer export`.") from error
    return Content(spec, config, weights)


def _bounded(data: bytes, compressed: bool) -> bytes:
    """Unpack what was read. Raises `ValueError` if far more is in it than in a policy: it would fill the memory."""
    if compressed:
        unpacker, most = lzma.LZMADecompressor(), MOST_PACKED * len(data)
        data = unpacker.decompress(data, most)
        if not unpacker.eof:
            raise ValueError("it is cut short, or unpacks to far more than a policy")
    if zipfile.is_zipfile(archive := io.BytesIO(data)):
        sizes = [info.file_size for info in zipfile.ZipFile(archive).infolist()]
        if sum(sizes) > len(data):
            raise ValueError("its parts are larger than the file")
    return data


def _check_content(file: Path, content: dict[str, Any], size: int) -> None:
    """Raise `ValueError` unless the parts are those of a policy, and their checksum is right if there is one."""
    if content.keys() - {"checksum"} != _KEYS:
        raise ValueError(f"it holds {', '.join(sorted(map(str, content)))}")
    if sum(tensor.nbytes for tensor in content["weights"].values()) > size:
        raise ValueError("its weights are larger than the file")
    if "checksum" not in content:
        _logger.warning("%s is of a version without checksums: damage to it would go unnoticed.", file)
    elif content["checksum"] != _checksum(content):
        raise ValueError("its checksum is wrong")


def _checksum(content: Mapping[str, Any]) -> str:
    parts = [content[key] for key in ("format", "spec", "options")]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for name, tensor in sorted(content["weights"].items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _check_weights(weights: dict[str, Tensor], spec: EnvSpec, config: Config) -> None:
    """Raise `ValueError` unless the weights are those of such an agent.

    On the meta device its networks take no memory and no time, however large the options say that they are.
    """
    with torch.device("meta"):
        expected = ALGORITHMS[config.behavior.agent](spec, config).state_dict()
    for name in expected.keys() | weights.keys():
        if name not in weights or name not in expected:
            raise ValueError(f"the weights {name} are {'missing' if name in expected else 'of no network'}")
        if (weights[name].shape, weights[name].dtype) != (expected[name].shape, expected[name].dtype):
            raise ValueError(f"the weights {name} have another shape than the network")
        if not weights[name].isfinite().all():
            raise ValueError(f"the weights {name} have numbers that are not finite")
