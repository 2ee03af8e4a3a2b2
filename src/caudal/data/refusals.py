"""The names of the built-in data, and what all kinds of data refuse alike."""

import difflib
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import pyarrow as pa

from caudal.errors import InputError, one_line
from caudal.fields import shown
from caudal.names import alike, near

TABLES = (
    "digits",
    "moons",
    "rings",
    "checkerboard",
    "spirals",
    "eight-gaussians",
    "pinwheel",
    "torus",
)
SOUNDS = ("vowels",)
BUILT_IN = (*TABLES, *SOUNDS)
BROKEN = (
    *(pa.ArrowException, OSError, EOFError, ValueError, BadZipFile, zlib.error),
    *(MemoryError, RuntimeError, struct.error),  # zipfile has the second for what it cannot read
)
MOST_COLUMNS = 100_000


def check_names(wanted: Sequence[str], names: Sequence[str], file: str) -> None:
    """Refuses a table that lacks columns.

    Args:
        wanted: the columns that are needed.
        names: the columns of the table.
        file: what to call the table.
    """
    lacking = [name for name in wanted if name not in names]
    if lacking:
        shown = ", ".join(f"'{n}'" for n in lacking[:8]) + (", ..." if len(lacking) > 8 else "")
        hint = near(lacking[0], list(names))
        if _headerless(wanted) and not _headerless(names):
            hint = "the run's table had no header: leave it out here, or name columns c0, c1, ..."
        elif _headerless(names) and not _headerless(wanted):
            hint = f"it has no header: give it one with {', '.join(wanted[:8])}"
        raise InputError(f"{file} has no column {shown} that the model needs; {hint}")
    for name in wanted:
        if list(names).count(name) > 1:
            raise InputError(f"{file} has the column '{name}' twice: rename one of them")


def check_width(name: str, width: int, other: str, expected: int) -> None:
    """Refuses an array that has another number of columns than what it stands beside.

    Its columns have no names: they are taken by their places, and other places mean others.
    """
    if width != expected:
        columns = "1 column" if width == 1 else f"{width} columns"
        raise InputError(f"{name} has {columns}, {other} {expected}")


def check_columns(count: int, name: str) -> None:
    """Refuses a table so wide that its rows and columns must have been mistaken."""
    if count > MOST_COLUMNS:
        raise InputError(
            f"{name} has {count:,} columns, and a table at most {MOST_COLUMNS:,}: transpose it, "
            f"if these are its rows"
        )


def check_texts(option: str, names: Any) -> None:
    """Refuses what is no list of names, such as a single one."""
    is_list = isinstance(names, Iterable) and not isinstance(names, str)
    if not is_list or not all(isinstance(name, str) for name in names):
        raise InputError(f"`{option}` {shown(names)}: must be a list of strings")


def check_once(option: str, names: Sequence[str]) -> None:
    """Refuses a list of names, of the argument `option`, that has one twice."""
    for name in names:
        if list(names).count(name) > 1:
            raise InputError(f"`{option}`: '{name}' is named twice")


def missing_file(name: str) -> InputError:
    """The error for a path at which there is nothing, with the names perhaps meant."""
    path = Path(name)
    if "://" in name:
        return InputError(
            f"{name}: of URLs only Parquet files and tar shards are read, and this is none: "
            f"download it first"
        )
    if not path.suffix and path.name == name:
        return InputError(f"no file and no built-in data '{name}'; {near(name, BUILT_IN)}")
    folder = path.parent
    if not folder.is_dir():
        return InputError(f"no file {name}: there is no folder {folder}")
    files = sorted(entry.name for entry in folder.iterdir())
    hint = _near_file(path.name, files) if files else "the folder is empty"
    return InputError(f"no file {name}; {hint}")


def _near_file(name: str, files: list[str]) -> str:
    """Like `near`, judged by the stems: nearly all files share their suffixes."""
    stem = name.partition(".")[0]
    stems = {file.partition(".")[0] for file in files}
    nearest = difflib.get_close_matches(stem, sorted(stems), n=3, cutoff=0.7)
    return alike([f for s in nearest for f in files if f.partition(".")[0] == s][:3], files)


def _headerless(names: Sequence[str]) -> bool:
    """Whether these are the names that columns without a header get."""
    return all(re.fullmatch(r"c\d+", name) for name in names)


@contextmanager
def damage(name: str) -> Iterator[None]:
    """Turns a reader's complaint about broken bytes into one line that names the file."""
    try:
        yield
    except InputError:
        raise
    except BROKEN as error:
        what = one_line(error, 160)
        raise InputError(
            f"{name} cannot be read, it may be damaged or cut short: {what}"
        ) from None
