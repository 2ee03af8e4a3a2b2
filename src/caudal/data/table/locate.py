"""From what the user names to a table: a built-in name, a file by its suffix, or Python data."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from caudal.data.names import BUILT_IN, TABLES, missing_file
from caudal.data.table.builtin import BuiltIn, built_in
from caudal.data.table.frames import as_table, index_note, read_array_file
from caudal.data.table.tables import MemoryTable, ParquetTable, Tables
from caudal.data.table.text import COMPRESSED, SUFFIXES, read_text, text_suffix
from caudal.errors import InputError

FORMATS = (
    f"{' '.join(SUFFIXES)} (also with {' '.join(COMPRESSED)}), .parquet, .npy, .npz, "
    f"or a built-in name: {' '.join(BUILT_IN)}"
)


def find_built_in(data: Any) -> BuiltIn | None:
    """The built-in table of that name, if there is one; ./digits is a file of that name."""
    return built_in(data) if isinstance(data, str) and data in BUILT_IN else None


def finds_table(data: Any) -> bool:
    """Whether `data` looks like a table; opens no file."""
    if not isinstance(data, str | os.PathLike):
        return not isinstance(data, list)
    name = os.fspath(data)
    if name in BUILT_IN:
        return name in TABLES
    suffixes = (*SUFFIXES, ".parquet", ".npy", ".npz")
    return Path(name).is_file() and text_suffix(Path(name)) in suffixes


def open_table(data: Any, texts: Collection[str] = ()) -> Tables:
    """Opens a built-in name, a file, or what holds a table in Python (see `as_table`).

    Args:
        data: what to open.
        texts: columns that stay text even where a file of text makes them look like numbers.

    Raises:
        InputError: there is nothing to open there, or no table in it.
    """
    if (known := find_built_in(data)) is not None:
        return MemoryTable(data, known.table)
    if isinstance(data, str | os.PathLike):
        return _open_file(os.fspath(data), texts)
    name = "array" if isinstance(data, np.ndarray | torch.Tensor) else "table"
    note = index_note(data)
    return MemoryTable(name, as_table(data, name), (note,) if note else ())


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
