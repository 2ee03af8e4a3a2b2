"""From what `--data` says to images: a folder, a file by its suffix, a hub name, or an array."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caudal.data.builtin import NAMES
from caudal.data.images import arrays, builtin, folder, hub, idx, parquet
from caudal.data.images.form import SUFFIXES
from caudal.data.images.pictures import Found
from caudal.data.locate import missing_file
from caudal.data.splits import TRAIN
from caudal.errors import InputError

FORMATS = (
    f"a folder of images ({' '.join(SUFFIXES)}), a folder of IDX files, .npy, .npz, .parquet, or "
    f"hf:NAME"
)


def finds_images(data: Any) -> bool:
    """Whether `data` looks like images, not like a table; reads no more than headers.

    The built-in digits are a table, unless they are asked for as images. A folder does look like
    images, and so do arrays of three or more dimensions, a Parquet file with a column of
    encoded images, IDX and image files, and hf:NAME.
    """
    if isinstance(data, np.ndarray | torch.Tensor):
        return data.ndim >= 3
    if not isinstance(data, str | os.PathLike):
        return False
    name = os.fspath(data)
    return hub.is_hub(name) or (name not in NAMES and _file_has_images(Path(name)))


def _file_has_images(path: Path) -> bool:
    if not path.is_file():
        return path.is_dir()
    if path.suffix in (".npy", ".npz"):
        return arrays.holds_images(path)
    if path.suffix == ".parquet":
        return parquet.holds_images(path)
    return idx.is_idx(path) or path.suffix.casefold() in SUFFIXES


def find_images(data: Any) -> Found:
    """What images there are, and in which parts.

    Raises:
        InputError: there are none, or they cannot be read.
    """
    if isinstance(data, torch.Tensor):
        data = data.detach().cpu().numpy()
    if isinstance(data, np.ndarray):
        return Found("array", {TRAIN: arrays.array_pictures(data, "array")})
    if not isinstance(data, str | os.PathLike):
        raise InputError(f"a {type(data).__name__} is no images: give {FORMATS}, or an array")
    name = os.fspath(data)
    if hub.is_hub(name):
        return hub.read_hub(name)
    if name in builtin.NAMES:
        return builtin.read_built_in(name)
    if name in NAMES:
        raise InputError(f"{name} holds no images: give {FORMATS}, or digits")
    path = Path(name)
    if path.is_dir():
        return _find_in_folder(path, name)
    if not path.exists():
        raise missing_file(name)
    return _find_in_file(path, name)


def _find_in_folder(path: Path, name: str) -> Found:
    if idx.holds_idx(path):
        return idx.read_idx_folder(path, name)
    if files := parquet.files_in(path):
        return parquet.read_parquet(files, name)
    return folder.read_folder(path, name)


def _find_in_file(path: Path, name: str) -> Found:
    if path.suffix in (".npy", ".npz"):
        return arrays.read_arrays(path, name)
    if path.suffix == ".parquet":
        return parquet.read_parquet([path], name)
    if idx.is_idx(path):
        return Found(name, {TRAIN: idx.read_idx(path)})
    if path.suffix.casefold() in SUFFIXES:
        return folder.read_file(path, name)
    raise InputError(f"{name}: unknown kind of file '{path.suffix}'; images are {FORMATS}")
