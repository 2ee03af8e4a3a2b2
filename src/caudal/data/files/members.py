"""The files within a tar, read where they lie; what may do harm is refused.

Nothing is unpacked: a member is so many bytes of its shard.
"""

import io
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import NamedTuple

from caudal.data.files.places import opened, read_at, size_of, window
from caudal.errors import InputError, one_line, printable


class Member(NamedTuple):
    """A file within a shard.

    Attributes:
        shard: the path of the tar, or its URL.
        name: of the file within it.
        offset: where its bytes begin.
        size: how many there are.
    """

    shard: str
    name: str
    offset: int
    size: int

    @property
    def suffix(self) -> str:
        """That of its name."""
        return PurePosixPath(self.name).suffix

    def open(self) -> io.BufferedReader:
        """The bytes as a file, of which only what is asked for is read."""
        return window(self.shard, self.offset, self.size)

    def read(self) -> bytes:
        """All bytes."""
        return read_at(self.shard, self.offset, self.size)


def members_of(shard: str, title: str) -> Iterator[Member]:
    """The files of a shard, whose headers alone are read.

    Raises:
        InputError: it is damaged, or has links, devices, or paths that lead out of it.
    """
    name = ""
    try:
        total = size_of(shard)
        with opened(shard) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            for info in tar:
                name = info.name.removeprefix("./")
                if info.size >= 0 and (info.isdir() or _is_hidden(name)):
                    continue
                if why := _why_refused(info):
                    raise InputError(
                        f"{title} holds {why}, '{printable(name)}': pack the files themselves"
                    )
                if info.offset_data + info.size > total:
                    raise InputError(f"{title} is cut short, in '{printable(name)}': copy it anew")
                yield Member(shard, name, info.offset_data, info.size)
            end = tar.offset  # where tarfile stopped, be it at a header that makes no sense to it
        if read_at(shard, end, tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
            raise InputError(
                f"{title} is damaged or cut short behind '{printable(name)}': copy it anew"
            )
    except (
        tarfile.TarError,
        OSError,
        ArithmeticError,
        ValueError,
        EOFError,
        MemoryError,
    ) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"{title} cannot be read as a tar, it may be damaged: {one_line(error, 120)}"
        ) from None


def _is_hidden(name: str) -> bool:
    """Whether a file is of no account, as those that macOS adds."""
    return PurePosixPath(name).name.startswith(".") and ".." not in PurePosixPath(name).parts


def _why_refused(info: tarfile.TarInfo) -> str:
    """What is wrong with a member; empty if nothing is."""
    if info.size < 0:
        return "a file of a negative size"
    if info.islnk() or info.issym():
        return "a link"
    if not info.isreg():
        return "a device or a pipe"
    if info.issparse():
        return "a file with holes"
    path = PurePosixPath(info.name)
    return "a path that leads out of it" if path.is_absolute() or ".." in path.parts else ""
