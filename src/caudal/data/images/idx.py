"""The IDX files of MNIST and similar sets, packed with gzip or not."""

import gzip
import math
import re
import struct
from pathlib import Path

import numpy as np

from caudal.data.files.lots import IMAGES, Listing, Lot, by_part
from caudal.data.images.arrays import array_lot
from caudal.data.splits import TEST, TRAIN
from caudal.data.table.tables import damage
from caudal.errors import InputError

_NAME = re.compile(r"(.*?)(train|t10k|test)-images[-.]idx3-ubyte(\.gz)?")
_FILE = re.compile(r".*[-.]idx\d-ubyte(\.gz)?")
_UINT8 = 0x08


def is_idx(path: Path) -> bool:
    """Whether a file has the name of an IDX file."""
    return _FILE.fullmatch(path.name) is not None


def holds_idx(folder: Path) -> bool:
    """Whether a folder has a file of IDX images."""
    return any(_NAME.fullmatch(entry.name) for entry in folder.iterdir())


def read_idx_folder(folder: Path, name: str) -> Listing:
    """The train and the t10k (or test) images of a folder, with their labels if there are any.

    Raises:
        InputError: a file is damaged, or there are several sets.
    """
    chosen: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):  # unpacked files come before packed ones, and win
        match = _NAME.fullmatch(path.name)
        if match is None:
            continue
        part = TRAIN if match[2] == "train" else TEST
        other = chosen.setdefault(part, path)
        if other.name.removesuffix(".gz") != path.name.removesuffix(".gz"):
            raise InputError(
                f"{name} has several sets, {other.name} and {path.name}: give each its own folder"
            )
    return by_part(IMAGES, name, {part: read_idx(path) for part, path in chosen.items()})


def read_idx(path: Path) -> Lot:
    """The images of one file, with the labels of the file beside it if there is one.

    Raises:
        InputError: a file is damaged, or there are more or fewer labels than images.
    """
    images = _read(path, 3)
    beside = _labels_beside(path)
    labels = None if beside is None else _read(beside, 1)
    if labels is not None and len(labels) != len(images):
        raise InputError(f"{beside} has {len(labels)} labels for {len(images)} images of {path}")
    return array_lot(images, str(path), labels)


def _labels_beside(path: Path) -> Path | None:
    plain = path.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    for name in (plain, f"{plain}.gz"):
        beside = path.with_name(name)
        if beside != path and beside.exists():
            return beside
    return None


def _read(path: Path, dims: int) -> np.ndarray:
    """The values of a file as an array; a file that is not packed is mapped instead of read."""
    with damage(str(path)):
        if path.suffix == ".gz":
            values = np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8)
        else:
            empty = path.stat().st_size == 0
            values = np.empty(0, np.uint8) if empty else np.memmap(path, np.uint8, "c")
    start = 4 * (1 + dims)
    shape = _shape(values[:start].tobytes(), path, dims)
    size, wanted = len(values) - start, math.prod(shape)
    if size != wanted:
        shown = "x".join(map(str, shape))
        state = "cut short" if size < wanted else "too long"
        raise InputError(f"{path} is {state}: its header says {shown}, which is {wanted} bytes")
    return values[start:].reshape(shape)


def _shape(header: bytes, path: Path, dims: int) -> tuple[int, ...]:
    magic = header[:4]
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[3] != dims:
        what = {1: "labels", 3: "images"}[dims]
        raise InputError(
            f"{path} is no IDX file of {what}: it starts with {magic.hex(' ') or 'nothing'}, not "
            f"00 00 08 {dims:02x}"
        )
    if magic[2] != _UINT8:
        raise InputError(f"{path} holds values of IDX type {magic[2]:#04x}: only 8-bit ones work")
    if len(header) < 4 * (1 + dims):
        raise InputError(f"{path} is cut short: it ends within its header")
    shape = struct.unpack(f">{dims}I", header[4:])
    if 0 in shape:
        raise InputError(f"{path} is empty: its header says {'x'.join(map(str, shape))}")
    return shape
