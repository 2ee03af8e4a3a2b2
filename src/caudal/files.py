"""Writing files so that a reader, or a crash, never meets half of one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caudal.errors import InputError


def path_of(value: Any, name: str = "out") -> Path:
    """The path that an argument, called `name`, gives.

    Raises:
        InputError: it is none.
    """
    if not isinstance(value, str | os.PathLike):
        raise InputError(f"`{name}` {value}: must be a path")
    return Path(value)


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; it takes the place of `path` only on success."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffixes stay at the end: writers choose the format, and the compression, by them.
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
    except OSError as error:
        if error.filename in (None, str(temporary)):
            error.filename = str(path)  # a full disk names no file, and nobody knows the other
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yields a temporary folder beside `path`; it takes that place, if it is free, on success."""
    path = Path(path)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    temporary.mkdir(parents=True)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sweep(folder: Path, pattern: str = "**/.[0-9]*.*") -> None:
    """Removes what processes that are no more left half written in a folder."""
    for left in list(folder.glob(pattern)):
        number = left.name.split(".")[1]
        if not number.isdigit() or _lives(int(number)):
            continue
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Waits until a file is on the disk, so that a power cut leaves the old one or the new one."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _lives(pid: int) -> bool:
    """Whether a process is there; only POSIX can tell without harm."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def write_text(path: str | Path, text: str) -> None:
    """Writes `text` to `path` atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
