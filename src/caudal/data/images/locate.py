"""From what the user names to images: a folder, a file by its suffix, a hub name, or an array."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caudal.data.files.find import kind_of_folder, read_file, read_folder
from caudal.data.files.lots import IMAGES, Listing, by_part
from caudal.data.images import arrays, encoded, idx
from caudal.data.names import BUILT_IN, missing_file
from caudal.data.splits import TRAIN
from caudal.errors import InputError

BUILT_IN_IMAGES = ("digits",)
FORMATS = (
    f"a folder of images ({' '.join(IMAGES.suffixes)}), a folder of IDX files, .npy, .npz, "
    f".parquet, or hf:NAME"
)


def finds_images(data: Any) -> bool:
    """Whether `data` looks like images and not like a table; reads no more than headers.

    The built-in digits are a table unless they are asked for as images. Folders look like images
    unless they are empty or hold more audio; so do arrays of three or more dimensions, a Parquet
    file with a column of encoded images, IDX and image files, and hf:NAME.
    """
    if isinstance(data, np.ndarray | torch.Tensor):
        return data.ndim >= 3
    if not isinstance(data, str | os.PathLike):
        return False
    name = os.fspath(data)
    return encoded.is_hub(name) or (name not in BUILT_IN and _file_has_images(Path(name)))


def _file_has_images(path: Path) -> bool:
    if not path.is_file():
        return path.is_dir() and kind_of_folder(path) is IMAGES
    if path.suffix in (".npy", ".npz"):
        return arrays.holds_images(path)
    if path.suffix == ".parquet":
        return encoded.holds_images(path)
    return idx.is_idx(path) or IMAGES.fits(path)


def find_images(data: Any) -> Listing:
    """What images there are, and in which parts.

    Raises:
        InputError: there are none, or they cannot be read.
    """
    if isinstance(data, torch.Tensor):
        data = data.detach().cpu().numpy()
    if isinstance(data, np.ndarray):
        return by_part(IMAGES, "array", {TRAIN: arrays.array_lot(data, "array")})
    if not isinstance(data, str | os.PathLike):
        raise InputError(f"a {type(data).__name__} is no images: give {FORMATS}, or an array")
    name = os.fspath(data)
    if encoded.is_hub(name):
        return encoded.read_hub(name)
    if name in BUILT_IN_IMAGES:
        return _digits(name)
    if name in BUILT_IN:
        raise InputError(f"{name} holds no images: give {FORMATS}, or digits")
    path = Path(name)
    if path.is_dir():
        return _find_in_folder(path, name)
    if not path.exists():
        raise missing_file(name)
    return _find_in_file(path, name)


def _find_in_folder(path: Path, name: str) -> Listing:
    if idx.holds_idx(path):
        return idx.read_idx_folder(path, name)
    if files := encoded.files_in(path):
        return encoded.read_parquet(files, name)
    return read_folder(path, name, IMAGES)


def _find_in_file(path: Path, name: str) -> Listing:
    if path.suffix in (".npy", ".npz"):
        return arrays.read_arrays(path, name)
    if path.suffix == ".parquet":
        return encoded.read_parquet([path], name)
    if idx.is_idx(path):
        return by_part(IMAGES, name, {TRAIN: idx.read_idx(path)})
    if IMAGES.fits(path):
        return read_file(path, name, IMAGES, title=name)
    raise InputError(f"{name}: unknown kind of file '{path.suffix}'; images are {FORMATS}")


def _digits(name: str) -> Listing:
    """scikit-learn's digits, 8x8 in 16 shades, with their classes."""
    from sklearn.datasets import load_digits

    data = load_digits()
    # A pixel counts 0 to 16 dark points; in 16 shades, 16 is as dark as 15.
    images = (np.minimum(data.images, 15) * 17).astype(np.uint8)
    lot = arrays.array_lot(images, name, data.target)
    return Listing(IMAGES, name, (lot,), bits=4)
