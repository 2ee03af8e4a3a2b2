"""Arrays of images: in .npy, .npz and IDX files, or in memory."""

import gzip
import math
import re
import struct
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np

from caudal.data.files.lots import CLASS, IMAGES, Listing, Lot, by_part
from caudal.data.refusals import BROKEN, damage
from caudal.data.splits import TEST, TRAIN, part_of
from caudal.data.unpacked import Counted, check_arrays, header_of
from caudal.errors import InputError

LABELS = ("label", "labels", "y", "target", "targets")
_NAME = re.compile(r"(.*?)(train|t10k|test)-images[-.]idx3-ubyte(\.gz)?")
_FILE = re.compile(r".*[-.]idx\d-ubyte(\.gz)?")
_UINT8 = 0x08


def read_arrays(path: Path, name: str) -> Listing:
    """The images of a .npy or .npz file.

    A .npy file is mapped into memory instead of being read. A .npz file holds one array of images
    and perhaps one of labels, or such a pair for each part, such as x_train, y_train, x_test,
    y_test.

    Raises:
        InputError: the file is damaged, or its arrays are no 8-bit images.
    """
    with damage(name):
        check_arrays(path, name)
        if path.suffix == ".npy":
            return by_part(IMAGES, name, {TRAIN: array_lot(_mapped(path), name)})
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return _archive(archive, name)


def array_lot(array: np.ndarray, name: str, labels: np.ndarray | None = None) -> Lot:
    """The images of an array (N, H, W), (N, H, W, C) or (N, C, H, W).

    Raises:
        InputError: it has another shape, or values that are not 8-bit.
    """
    _check_values(array, name)
    if not array.flags.writeable:
        array = array.copy()  # torch warns of memory that it may not write to
    images = _channels_last(array, name)
    if len(images) == 0:
        raise InputError(f"{name} has no images: its shape is {array.shape}")
    classes = {} if labels is None else {CLASS: _check_labels(labels, len(images), name)}
    return Lot(name, images, len(images), labels=classes, array=images)


def holds_images(path: Path) -> bool:
    """Whether a .npy or .npz file has an array of three or more dimensions, by its headers."""
    try:
        if path.suffix == ".npy":
            with path.open("rb") as file:
                return len(header_of(file)[0]) >= 3
        with ZipFile(path) as archive:
            return any(_member_dims(archive, name) >= 3 for name in archive.namelist())
    except BROKEN:
        return False  # opening it will say what is wrong with it


def _mapped(path: Path) -> np.ndarray:
    with path.open("rb") as file:
        if len(header_of(file)[0]) == 0:
            return np.load(path, allow_pickle=False)
    # Torch wants memory that it may write to, and copy on write leaves the file as it is.
    return np.load(path, mmap_mode="c", allow_pickle=False)


def _member_dims(archive: ZipFile, name: str) -> int:
    if not name.endswith(".npy"):
        return 0
    with archive.open(name) as file:
        return len(header_of(file)[0])


def _archive(archive: Any, name: str) -> Listing:
    images: dict[int, np.ndarray] = {}
    labels: dict[int, np.ndarray] = {}
    keys = []
    for key in archive.files:
        array = archive[key]
        part, rest = _key(key)
        keys.append(f"{key} {array.shape}")
        if array.ndim >= 3:
            if part in images:
                raise InputError(
                    f"{name} has several arrays of images ({', '.join(keys)}): keep one, or one "
                    f"for each part, such as x_train, x_valid and x_test"
                )
            images[part] = array
        elif rest in LABELS:
            labels[part] = array
    if not images:
        raise InputError(
            f"{name} has no array of images among {', '.join(keys) or 'none'}: give "
            f"(images, height, width) or (images, height, width, channels)"
        )
    lots = {part: array_lot(array, name, labels.get(part)) for part, array in images.items()}
    return by_part(IMAGES, name, lots)


def _key(key: str) -> tuple[int, str]:
    """The part of an array and the rest of its name: x_train is the x of `TRAIN`."""
    for word in key.split("_"):
        part = part_of(word)
        if part is not None:
            return part, "_".join(w for w in key.split("_") if w != word).casefold()
    return TRAIN, key.casefold()


def _check_values(array: np.ndarray, name: str) -> None:
    if array.dtype == np.uint8:
        return
    scaled = "(x * 255).round()" if array.dtype.kind in "fb" else "x"
    raise InputError(
        f"{name} holds values of type {array.dtype}: images are 8-bit, save them as uint8, such "
        f"as {scaled}.astype('uint8') for x in [0, {1 if array.dtype.kind in 'fb' else 255}]"
    )


def _channels_last(array: np.ndarray, name: str) -> np.ndarray:
    if array.ndim == 3:
        return array[:, :, :, None]
    if array.ndim == 4 and array.shape[3] in (1, 2, 3, 4):
        return array
    if array.ndim == 4 and array.shape[1] in (1, 3):
        return array.transpose(0, 2, 3, 1)
    raise InputError(
        f"{name} holds an array of shape {array.shape}: images are (images, height, width) or "
        f"(images, height, width, channels), with 1 to 4 channels"
    )


def _check_labels(labels: np.ndarray, count: int, name: str) -> list[Any]:
    flat = labels.reshape(-1) if labels.shape == (len(labels), 1) else labels
    if flat.ndim != 1 or flat.dtype.kind not in "biuUS":
        raise InputError(
            f"{name} holds labels of shape {labels.shape} and type {labels.dtype}: give one whole "
            f"number or text for each image"
        )
    if len(flat) != count:
        raise InputError(f"{name} holds {count} images and {len(flat)} labels: give one for each")
    if flat.dtype.kind == "S":
        flat = np.char.decode(flat, "utf-8")
    return (flat.astype(np.int64) if flat.dtype.kind == "b" else flat).tolist()


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
            with Counted(path, str(path), gzip.open(path)) as stream:
                values = np.frombuffer(stream.read(), np.uint8)
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
