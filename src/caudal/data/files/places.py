"""Files here, and at URLs that fsspec knows, of which only what is asked for is read."""

import io
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from caudal.errors import InputError, one_line

_SIGNS = "*?["


def is_url(name: str | os.PathLike[str]) -> bool:
    """Whether a name is a URL, such as `s3://bucket/a.tar`, and no file of this machine."""
    name = os.fspath(name)
    return "://" in name and not os.path.exists(name)


def is_pattern(name: str) -> bool:
    """Whether a name stands for all that match it."""
    return any(sign in name for sign in _SIGNS)


def matching(pattern: str) -> list[str]:
    """The files of that pattern, in the order of their names.

    Raises:
        InputError: a URL cannot be reached.
    """
    if not is_url(pattern):
        path = Path(pattern)
        inner = str(path.relative_to(path.anchor)) if path.anchor else str(path)
        return sorted(str(p) for p in Path(path.anchor or ".").glob(inner))
    system, path_there = _reached(pattern)
    try:
        return sorted(system.unstrip_protocol(found) for found in system.glob(path_there))
    except OSError as error:
        raise _unreached(pattern, error) from None


def exists(name: str) -> bool:
    """Whether there is such a file.

    Raises:
        InputError: a URL cannot be reached.
    """
    if not is_url(name):
        return os.path.exists(name)
    system, path = _reached(name)
    try:
        return bool(system.isfile(path))
    except OSError as error:
        raise _unreached(name, error) from None


def size_of(name: str) -> int:
    """The bytes of a file."""
    if not is_url(name):
        return os.path.getsize(name)
    system, path = _reached(name)
    return int(system.size(path) or 0)


def opened(name: str) -> BinaryIO:
    """A file to read, in which one may seek."""
    if not is_url(name):
        return open(name, "rb")
    system, path = _reached(name)
    return cast(BinaryIO, system.open(path, "rb"))


def read_at(name: str, offset: int, size: int) -> bytes:
    """So many bytes of a file; at a URL by a single request."""
    if is_url(name):
        system, path = _reached(name)
        return bytes(system.cat_file(path, offset, offset + size))
    with open(name, "rb") as file:
        file.seek(offset)
        return file.read(size)


def window(name: str, offset: int, size: int) -> io.BufferedReader:
    """So many bytes of a file as a file of their own; at a URL they are read at once."""
    if is_url(name):
        return cast(io.BufferedReader, io.BytesIO(read_at(name, offset, size)))
    return io.BufferedReader(_Window(name, offset, size))


class _Window(io.RawIOBase):
    def __init__(self, name: str, offset: int, size: int) -> None:
        self._file = open(name, "rb")  # noqa: SIM115 - `close` closes it
        self._start, self._size, self._at = offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._start + self._at)
        count = self._file.readinto(memoryview(buffer)[: max(0, self._size - self._at)])
        self._at += count
        return count

    def close(self) -> None:
        with suppress(AttributeError):  # the file was never opened
            self._file.close()
        super().close()


def _reached(name: str) -> tuple[Any, str]:
    """The file system of a URL, and the path there."""
    import fsspec

    try:
        system, path = fsspec.url_to_fs(name)
    except (ImportError, ValueError, OSError) as error:
        raise _unreached(name, error) from None
    return system, path


def _unreached(name: str, error: Exception) -> InputError:
    return InputError(f"{name} cannot be reached: {one_line(error, 160)}")
