"""Files are written so that nobody meets half of one, and read so that none holds us up."""

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from caudal.errors import InputError, one_line

MOST_YAML, MOST_NODES = 1 << 24, 2_000_000
"""Bytes of a YAML file, and values in it with its aliases written out; more are an attack."""
_DEEPEST = 100
_FILE_BYTE = r"\uDC"  # in names of files that are no UTF-8, of which the fast loader knows nothing
# Errors of YAML's own, and of the values that it makes of a stranger's text.
_NONSENSE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)


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
        flush(temporary)
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


def is_temporary(name: str) -> bool:
    """Whether it is the name of a file that is being written, or was at the end of its process."""
    return re.match(r"\.\d+\.", name) is not None


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


def flush(path: Path) -> None:
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


def check_regular(path: Path) -> None:
    """Refuses a device, a pipe or a socket: reading one may never end, and none is replaced.

    Raises:
        InputError: names the path.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise InputError(f"{path} is a device or a pipe, and a file is needed")


def read_yaml(path: Path) -> Any:
    """The content of a YAML file; one that unfolds beyond all measure is refused unread.

    Raises:
        InputError: it is a device or a pipe.
        OSError: it cannot be read.
        ValueError: it is no YAML, or too much of it.
    """
    import yaml

    check_regular(path)
    if path.stat().st_size > MOST_YAML:
        raise ValueError(f"it has more than {MOST_YAML >> 20} MB")
    text = path.read_text(encoding="utf-8")
    fast = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    kind = yaml.SafeLoader if _FILE_BYTE in text else fast
    loader = kind(text)
    try:
        _check_depth(yaml.parse(text, kind))
        node = loader.get_single_node()
        if node is not None and _unfolded(node, {}) > MOST_NODES:
            raise ValueError(f"its aliases unfold to more than {MOST_NODES:,} values")
        return None if node is None else loader.construct_document(node)
    except (yaml.YAMLError, *_NONSENSE) as error:
        raise ValueError(one_line(error, 160)) from error
    finally:
        loader.dispose()


def _check_depth(events: Iterable[Any]) -> None:
    """Refuses lists within lists that would overflow the stack of the loader."""
    depth = 0
    for event in events:
        name = type(event).__name__
        depth += name.endswith("StartEvent") - name.endswith("EndEvent")
        if depth > _DEEPEST:
            raise ValueError(f"it is nested more than {_DEEPEST} deep")


def _unfolded(node: Any, known: dict[int, int]) -> int:
    """How many values there are at and below a node with each alias written out."""
    if id(node) not in known:
        known[id(node)] = MOST_NODES + 1  # of a node that holds itself
        inner = node.value if isinstance(node.value, list) else []
        flat = [n for item in inner for n in (item if isinstance(item, tuple) else (item,))]
        known[id(node)] = 1 + sum(_unfolded(n, known) for n in flat)
    return known[id(node)]
