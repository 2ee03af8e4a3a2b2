"""Files here, and at URLs that fsspec knows, of which only what is asked for is read."""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, cast

from caudal.errors import InputError, one_line

_SIGNS = "*?["
_MISSING = (404, 410)  # what a server answers where there is no such file


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
    with _reaching(pattern):
        system, path_there = _reached(pattern)
        return sorted(system.unstrip_protocol(found) for found in system.glob(path_there))


def exists(name: str) -> bool:
    """Whether there is such a file.

    Raises:
        InputError: a URL cannot be reached.
    """
    if not is_url(name):
        return os.path.exists(name)
    with _reaching(name):
        system, path = _reached(name)
        if not name.startswith(("http://", "https://")):
            return bool(system.isfile(path))
        try:  # its isfile takes a server that does not answer for one without the file
            system.info(path)
        except FileNotFoundError as error:
            why = error.__cause__
            if why is None or getattr(why, "status", None) in _MISSING:
                return False
            raise why from None
        return True


def size_of(name: str) -> int:
    """The bytes of a file.

    Raises:
        InputError: a URL cannot be reached, or its server does not tell.
    """
    if not is_url(name):
        return os.path.getsize(name)
    with _reaching(name):
        system, path = _reached(name)
        size = system.size(path)
    if size is None:
        raise InputError(f"{name}: its server does not tell how long it is: copy it to a disk")
    return int(size)


def opened(name: str) -> BinaryIO:
    """A file to read, in which one may seek.

    Raises:
        InputError: a URL cannot be reached.
    """
    if not is_url(name):
        return open(name, "rb")
    with _reaching(name):
        system, path = _reached(name)
        return cast(BinaryIO, system.open(path, "rb"))


def read_at(name: str, offset: int, size: int) -> bytes:
    """So many bytes of a file; at a URL by a single request.

    Raises:
        InputError: a URL cannot be reached, or its server sends more or less.
    """
    if not size:
        return b""
    if is_url(name):
        with _reaching(name):
            system, path = _reached(name)
            content = bytes(system.cat_file(path, offset, offset + size))
        if len(content) != size:
            raise InputError(
                f"{name}: its server sends {len(content)} bytes where {size} are asked for, so "
                f"that it is cut short, or cannot be read in parts: copy it to a disk"
            )
        return content
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

    system, path = fsspec.url_to_fs(name)
    return system, path


@contextmanager
def _reaching(name: str) -> Iterator[None]:
    """Within, what a store raises, as for missing credentials, becomes one line."""
    try:
        yield
    except Exception as error:
        raise InputError(f"{name} cannot be reached: {one_line(error, 160)}") from None
