"""Write one episode as an uncompressed `.npz` file, and read it back, whole or in windows.

The file is an ordinary NumPy archive without pickles (`np.load` reads it). Like every zip archive it has a CRC-32 of
each array.
"""

import io
import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.lib import format as npy

from dreamer.storage.atomic_file import atomic_file
from dreamer.storage.regular_file import IrregularFileError, open_regular, read_regular
from dreamer.types import EnvSpec

Episode = dict[str, np.ndarray]

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, length of the name, length of the extra field
_MAGIC = struct.Struct("<8sH")  # of an array, version 1.0; length of its header
_HEADER = re.compile(
    rb"\{'descr': '([<|][buif]\d\d?)', 'fortran_order': False, 'shape': \((\d{1,9}), ?((?:\d{1,9}(?:, )?)*)\), \} *\n"
)
"""An array of numbers, little-endian and in C order, with at least one axis."""


class Member(NamedTuple):
    """Name, type, shape and position of an array in its file."""

    key: str
    dtype: str
    shape: tuple[int, ...]
    offset: int

    @property
    def nbytes(self) -> int:
        return np.dtype(self.dtype).itemsize * math.prod(self.shape)


Layout = tuple[Member, ...]
Signature = dict[str, str]
"""What an element of an episode holds: key -> type and shape, such as `uint8[64, 64, 3]`."""


class Head(NamedTuple):
    """What is known of a file when its arrays have not been read; `checksum` is a CRC-32 of their CRC-32s."""

    layout: Layout
    checksum: int


class DamagedEpisodeError(Exception):
    """The file does not hold a complete and unaltered episode; the text says why."""


def write_episode(path: Path, episode: Episode) -> None:
    """Write `episode` to `path` atomically. Raises `UserError` if the disk refuses."""
    with atomic_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for key, array in episode.items():
            _write_member(archive, key, np.ascontiguousarray(array))


def read_layout(path: Path) -> Layout:
    """Find the arrays of an episode by the archive's directory and the arrays' headers; the numbers are not read.

    Raises `DamagedEpisodeError` if the file is truncated or has another format, `OSError` if the disk refuses.
    """
    return read_head(path).layout


def read_head(path: Path) -> Head:
    """Do the same, and return with it a checksum of the whole episode. Raises as `read_layout` does."""
    with _parsing(), open_regular(path) as file, zipfile.ZipFile(file) as archive:
        return _head(file, archive)


def read_episode(path: Path, expected: Head | None = None) -> Episode:
    """Read the whole episode, as read-only arrays, and compare each with its CRC-32.

    Raises `DamagedEpisodeError` if the file is damaged in any way, has another head than `expected`, or holds numbers
    that are not finite; `OSError` if the disk refuses.
    """
    with _parsing():
        content = read_regular(path)
    with _parsing(), zipfile.ZipFile(io.BytesIO(content)) as archive:
        head = _head(io.BytesIO(content), archive)
        if expected not in (None, head):
            raise DamagedEpisodeError("it holds another episode than before")
        for info, member in zip(archive.infolist(), head.layout, strict=True):
            end = member.offset + member.nbytes
            if zlib.crc32(memoryview(content)[end - info.file_size : end]) != info.CRC:
                raise DamagedEpisodeError(f"the checksum of {member.key} is wrong")
        episode = {member.key: _array(content, member) for member in head.layout}
    if strange := not_finite(episode):
        raise DamagedEpisodeError(f"{strange} has numbers that are not finite")
    return episode


def read_window(file: int, layout: Layout, start: int, out: Episode, where: Any) -> None:
    """Read as many elements of an open file from `start` on as `out[key][where]` holds: contiguous `(n, ...)`.

    Raises `DamagedEpisodeError` if the file ends before, `OSError` if the disk refuses.
    """
    for key, dtype, shape, offset in layout:
        target, element = out[key][where], np.dtype(dtype).itemsize * math.prod(shape[1:])
        if os.preadv(file, [target.data], offset + start * element) != target.nbytes:
            raise DamagedEpisodeError("it was cut short")


def length_of(layout: Layout) -> int:
    """Return the number of elements of the episode."""
    return layout[0].shape[0]


def signature_of(episode: Episode | Layout) -> Signature:
    """Return what an element of the episode holds."""
    if isinstance(episode, dict):
        members = [(key, array.dtype, array.shape) for key, array in episode.items()]
    else:
        members = [(key, np.dtype(dtype), shape) for key, dtype, shape, _ in episode]
    return {key: f"{dtype}{list(shape[1:])}" for key, dtype, shape in members}


def signature_of_spec(spec: EnvSpec) -> Signature:
    """Return what an element of an episode of this environment holds."""
    images = {key: f"uint8{list(map(int, shape))}" for key, shape in spec.images.items()}
    vectors = {
        key: f"float32[{int(size)}]" for key, size in {**spec.vectors, "action": spec.action.size}.items()
    }
    return {**images, **vectors, "reward": "float32[]", "discount": "float32[]"}


def not_finite(episode: Episode) -> str | None:
    """Return the key of an array with infinite numbers or NaN, or None."""
    floats = (key for key, array in episode.items() if array.dtype.kind == "f")
    return next((key for key in floats if not np.isfinite(episode[key]).all()), None)


def _write_member(archive: zipfile.ZipFile, key: str, array: np.ndarray) -> None:
    header = io.BytesIO()
    npy.write_array_header_1_0(header, npy.header_data_from_array_1_0(array))
    info = zipfile.ZipInfo(f"{key}.npy")
    info.file_size = header.tell() + array.nbytes
    with archive.open(info, "w") as member:
        member.write(header.getvalue())
        member.write(array.data)


@contextmanager
def _parsing() -> Iterator[None]:
    """Raise `DamagedEpisodeError` for whatever zipfile and NumPy raise for bytes that mean nothing to them."""
    try:
        yield
    except IrregularFileError as error:
        raise DamagedEpisodeError(error.strerror) from error
    except (DamagedEpisodeError, OSError):
        raise
    except Exception as error:
        raise DamagedEpisodeError(str(error) or type(error).__name__) from error


def _layout(members: Iterator[Member]) -> Layout:
    layout = tuple(members)
    lengths = {member.shape[0] for member in layout}
    if len(lengths) != 1 or lengths == {0} or len({member.key for member in layout}) != len(layout):
        raise DamagedEpisodeError("its arrays do not belong together")
    return layout


def _head(file: BinaryIO, archive: zipfile.ZipFile) -> Head:
    infos = archive.infolist()
    checksums = struct.pack(f"<{len(infos)}I", *(info.CRC for info in infos))
    return Head(_layout(_locate_member(file, info) for info in infos), zlib.crc32(checksums))


def _locate_member(file: BinaryIO, info: zipfile.ZipInfo) -> Member:
    if info.header_offset < 0:
        raise DamagedEpisodeError(f"{info.filename} is not where the archive's directory says")
    file.seek(info.header_offset)
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    start = file.seek(name_length + extra_length, io.SEEK_CUR)
    if signature != b"PK\x03\x04" or info.compress_type != zipfile.ZIP_STORED:
        raise DamagedEpisodeError(f"{info.filename} is not where the archive's directory says")
    magic, length = _MAGIC.unpack(file.read(_MAGIC.size))
    header = _HEADER.fullmatch(file.read(length))
    if magic != b"\x93NUMPY\x01\x00" or header is None:
        raise DamagedEpisodeError(f"{info.filename} is not a plain NumPy array of numbers")
    shape = (int(header[2]), *map(int, header[3].split(b", ") if header[3] else ()))
    member = Member(info.filename.removesuffix(".npy"), header[1].decode(), shape, file.tell())
    if member.offset + member.nbytes != start + info.file_size:
        raise DamagedEpisodeError(f"{info.filename} does not have the size of its array")
    return member


def _array(content: bytes, member: Member) -> np.ndarray:
    count = math.prod(member.shape)
    return np.frombuffer(content, member.dtype, count, member.offset).reshape(member.shape)
