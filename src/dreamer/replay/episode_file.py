"""Write one episode as an uncompressed `.npz` file, and read it by memory map.

The file is an ordinary NumPy archive without pickles (`np.load` reads it). Its arrays begin at multiples of 64 bytes,
so that they can be used in place, without being copied.
"""

import io
import mmap
import struct
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.lib import format as npy

from dreamer.storage.atomic_file import atomic_file

Episode = dict[str, np.ndarray]

_ALIGNMENT = 64  # bytes; also the multiple to which NumPy pads its own header
_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, length of the name, length of the extra field
_PADDING_FIELD = struct.Struct("<HH")  # identifier and size of an extra field
_PADDING_ID = 0xD935  # registered for alignment


class Member(NamedTuple):
    """Name, type, shape and position of an array in its file."""

    key: str
    dtype: str
    shape: tuple[int, ...]
    offset: int


Layout = tuple[Member, ...]


class DamagedEpisodeError(Exception):
    """The file does not hold a complete episode."""


def write_episode(path: Path, episode: Episode) -> None:
    """Write `episode` to `path` atomically. Raises `UserError` if the disk refuses."""
    with atomic_file(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for key, array in episode.items():
            _write_member(archive, file.tell(), key, np.ascontiguousarray(array))


def read_layout(path: Path) -> Layout:
    """Find the arrays of an episode from the archive's directory, without reading the arrays.

    Raises `DamagedEpisodeError` if the file is truncated or has another format.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            return tuple(_locate_member(file, info) for info in archive.infolist())
    except (zipfile.BadZipFile, struct.error, ValueError) as error:
        raise DamagedEpisodeError(str(error)) from error


def map_episode(path: Path, layout: Layout) -> Episode:
    """Map the file into memory: read-only arrays, whose pages are read at their first use.

    The mapping and its file descriptor are freed with the last of the arrays.
    """
    with path.open("rb") as file:
        buffer = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return {key: np.ndarray(shape, dtype, buffer, offset) for key, dtype, shape, offset in layout}


def length_of(layout: Layout) -> int:
    """Return the number of elements of the episode."""
    return layout[0].shape[0]


def signature_of(episode: Episode | Layout) -> dict[str, str]:
    """Describe an element of an episode: key -> type and shape, such as `uint8[64, 64, 3]`."""
    if isinstance(episode, dict):
        members = [(key, array.dtype, array.shape) for key, array in episode.items()]
    else:
        members = [(key, np.dtype(dtype), shape) for key, dtype, shape, _ in episode]
    return {key: f"{dtype}{list(shape[1:])}" for key, dtype, shape in members}


def _write_member(archive: zipfile.ZipFile, position: int, key: str, array: np.ndarray) -> None:
    header = io.BytesIO()
    npy.write_array_header_1_0(header, npy.header_data_from_array_1_0(array))
    info = zipfile.ZipInfo(f"{key}.npy")
    info.file_size = header.tell() + array.nbytes
    unpadded = position + _LOCAL_HEADER.size + len(info.filename.encode()) + _PADDING_FIELD.size
    padding = -unpadded % _ALIGNMENT
    info.extra = _PADDING_FIELD.pack(_PADDING_ID, padding) + bytes(padding)
    with archive.open(info, "w") as member:
        member.write(header.getvalue())
        member.write(array.data)


def _locate_member(file: io.BufferedReader, info: zipfile.ZipInfo) -> Member:
    if info.header_offset < 0:
        raise DamagedEpisodeError(f"{info.filename} is not stored where the archive's directory says")
    file.seek(info.header_offset)
    signature, name_length, extra_length = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
    start = file.seek(name_length + extra_length, io.SEEK_CUR)
    if signature != b"PK\x03\x04" or info.compress_type != zipfile.ZIP_STORED:
        raise DamagedEpisodeError(f"{info.filename} is not stored where the archive's directory says")
    if npy.read_magic(file) != (1, 0):
        raise DamagedEpisodeError(f"{info.filename} is not a version 1.0 NumPy array")
    shape, fortran_order, dtype = npy.read_array_header_1_0(file)
    size = file.tell() - start + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    if dtype.hasobject or fortran_order or size != info.file_size:
        raise DamagedEpisodeError(f"{info.filename} is not a plain C-ordered array of the size recorded")
    return Member(info.filename.removesuffix(".npy"), dtype.str, shape, file.tell())
