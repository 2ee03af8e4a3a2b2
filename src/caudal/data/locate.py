"""From what `--data` says to a table: a built-in name, a file by its suffix, or Python data."""

import difflib
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caudal.data.arrays import array_table, read_array_file
from caudal.data.builtin import NAMES, BuiltIn, built_in
from caudal.data.encode import as_table
from caudal.data.names import alike, near
from caudal.data.tables import MemoryTable, ParquetTable, Tables
from caudal.data.text import COMPRESSED, SUFFIXES, read_text, text_suffix
from caudal.errors import InputError

FORMATS = (
    f"{' '.join(SUFFIXES)} (also with {' '.join(COMPRESSED)}), .parquet, .npy, .npz, "
    f"or a built-in name: {' '.join(NAMES)}"
)


def find_built_in(data: Any) -> BuiltIn | None:
    """The built-in data of that name, if there is some; write ./digits for a file of that name."""
    return built_in(data) if isinstance(data, str) and data in NAMES else None


def open_table(data: Any, texts: Collection[str] = ()) -> Tables:
    """Opens a built-in name, a file, or a Table, DataFrame, array or tensor.

    Args:
        data: what to open.
        texts: columns that stay text where a file of text makes them look like numbers.

    Raises:
        InputError: there is nothing to open there, or no table in it.
    """
    if isinstance(data, str) and data in NAMES:
        return MemoryTable(data, built_in(data).table)
    if isinstance(data, str | os.PathLike):
        return _open_file(os.fspath(data), texts)
    if isinstance(data, torch.Tensor):
        data = data.detach().cpu().numpy()
    if isinstance(data, np.ndarray):
        return MemoryTable("array", array_table(data, "array"))
    return MemoryTable("table", as_table(data))


def _open_file(name: str, texts: Collection[str]) -> Tables:
    path = Path(name)
    if path.is_dir():
        raise InputError(
            f"{name} is a folder: give a table file ({FORMATS}), or open it with open_images if "
            f"it holds images"
        )
    if not path.exists():
        raise missing_file(name)
    if text_suffix(path) in SUFFIXES:
        table, notes = read_text(path, name, texts)
        return MemoryTable(name, table, notes)
    if path.suffix == ".parquet":
        return ParquetTable(path)
    if path.suffix in (".npy", ".npz"):
        return MemoryTable(name, read_array_file(path, name))
    raise InputError(f"{name}: unknown kind of file '{path.suffix}'; known are {FORMATS}")


def _near_file(name: str, files: list[str]) -> str:
    """As `near`, judged by what stands before the suffixes, which nearly all files share."""
    stem = name.partition(".")[0]
    stems = {file.partition(".")[0] for file in files}
    found = difflib.get_close_matches(stem, sorted(stems), n=3, cutoff=0.7)
    return alike([f for stem in found for f in files if f.partition(".")[0] == stem][:3], files)


def missing_file(name: str) -> InputError:
    """The error for a name that nothing has, with those that were perhaps meant."""
    path = Path(name)
    if not path.suffix and path.name == name:
        return InputError(f"no file and no built-in data '{name}'; {near(name, NAMES)}")
    folder = path.parent
    if not folder.is_dir():
        return InputError(f"no file {name}: there is no folder {folder}")
    files = sorted(entry.name for entry in folder.iterdir())
    hint = _near_file(path.name, files) if files else "the folder is empty"
    return InputError(f"no file {name}; {hint}")
