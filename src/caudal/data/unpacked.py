"""How much a small file may unpack to: what promises more than that is refused unread.

A file may unpack to a hundred times its size, and any file to 1 GiB. The environment variable
`CAUDAL_UNPACKED` gives another number of GiB, for a file that is trusted.
"""

import math
import os
import re
from pathlib import Path
from tokenize import TokenError
from typing import Any
from zipfile import ZipFile

import numpy as np
import pyarrow as pa

from caudal.errors import InputError, one_line

TIMES = 100
OPTION = "CAUDAL_UNPACKED"
_READ = 1 << 22  # bytes at a time
_CELL = 24  # bytes
_PLACE = re.compile(rb'<c\s[^>]{0,99}?r="([A-Z]{1,3})(\d{1,7})"')
_LONG = 128  # bytes of such a place at most


def _most(packed: int, times: int) -> int:
    """How many bytes a file of so many may unpack to."""
    return max(times * packed, allowed())


def has_own_limit() -> bool:
    """Whether the user has given a limit."""
    return bool(os.environ.get(OPTION))


def allowed() -> int:
    """How many bytes any file may unpack to.

    Raises:
        InputError: `CAUDAL_UNPACKED` is no number.
    """
    given = os.environ.get(OPTION) or "1"
    try:
        return int(float(given) * 2**30)
    except (ValueError, OverflowError):
        raise InputError(f"{OPTION}={given}: give a number of GiB, such as 8") from None


def check_unpacked(path: Path, name: str, size: float) -> None:
    """Refuses a file that would unpack to so many bytes, if they are too many.

    Raises:
        InputError: says how to allow it.
    """
    check_size(path.stat().st_size, name, size)


def check_size(packed: int, name: str, size: float, times: int = TIMES) -> None:
    """Refuses what would unpack from `packed` bytes to `size`, if these are too many.

    Too many are those above `times` the packed ones and above what any file may unpack to.

    Raises:
        InputError: as `check_unpacked`.
    """
    if size > _most(packed, times):
        raise InputError(
            f"{name} holds more than {times:,} times its size when it is unpacked, and more than "
            f"{allowed() / 2**30:g} GiB: if you trust it, set {OPTION} to a number of GiB"
        )


class Counted:
    """The content of a compressed file, which is refused where it becomes too much.

    It is counted while it is read, so that nothing is unpacked only to learn its size.

    Args:
        path: the file.
        name: what errors call it.
        stream: its content without the compression, which closes with this.
    """

    def __init__(self, path: Path, name: str, stream: Any) -> None:
        self._packed, self._name, self._stream = path.stat().st_size, name, stream
        self._size = 0

    def __enter__(self) -> "Counted":
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()

    def read(self, size: int | None = None) -> bytes:
        """So many bytes, or all that are left.

        Raises:
            InputError: as `check_unpacked`.
        """
        parts: list[bytes] = []
        left = math.inf if size is None else size
        while left and (part := self._stream.read(int(min(left, _READ)))):
            self._size += len(part)
            left -= len(part)
            check_size(self._packed, self._name, self._size)
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)


def check_archive(path: Path, name: str) -> None:
    """Refuses a zip file by what its list of members says.

    Raises:
        InputError: as `check_unpacked`.
    """
    with ZipFile(path) as archive:
        check_unpacked(path, name, sum(member.file_size for member in archive.infolist()))


def check_arrays(path: Path, name: str) -> None:
    """Refuses a .npy or .npz file whose headers promise more numbers than there are.

    Raises:
        InputError: the file is cut short, or as `check_unpacked`.
    """
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            file.seek(0)
            _check_array(file, path.stat().st_size, name)
            return
    check_archive(path, name)
    with ZipFile(path) as archive:
        for member in archive.infolist():
            if member.filename.endswith(".npy"):
                with archive.open(member) as inner:
                    _check_array(inner, member.file_size, f"{name}, {member.filename}")


def header_of(file: Any) -> tuple[tuple[int, ...], np.dtype]:
    """The shape and the type of the array that a .npy file holds.

    Raises:
        ValueError: it is none.
    """
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0
    if version != (1, 0):
        read = np.lib.format.read_array_header_2_0
    try:
        shape, _, dtype = read(file)
    except (TokenError, SyntaxError, OverflowError) as error:  # of its tries to mend old headers
        raise ValueError(f"no header of an array: {one_line(error, 80)}") from None
    return shape, dtype


def _check_array(file: Any, size: int, name: str) -> None:
    shape, dtype = header_of(file)
    promised = math.prod(shape) * dtype.itemsize  # of Python's integers, which do not overflow
    if dtype.hasobject or (promised <= size and min(shape, default=0) >= 0):
        return
    shown = "x".join(map(str, shape))
    raise InputError(
        f"{name} is cut short: its header says {shown} values of type {dtype}, and it has "
        f"{size:,} bytes: copy it anew"
    )


def check_parquet(packed: int, name: str, meta: Any, schema: pa.Schema) -> None:
    """Refuses a Parquet file of so many bytes by what its metadata say.

    Raises:
        InputError: as `check_unpacked`.
    """
    groups = (meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
    in_memory = meta.num_rows * sum(map(_bytes_of, schema.types))
    check_size(packed, name, max(sum(groups), in_memory))


def _bytes_of(dtype: pa.DataType) -> float:
    """About how many bytes a value takes in memory at least."""
    try:
        return dtype.bit_width / 8
    except ValueError:  # text and lists
        return 4


def check_sheets(path: Path, name: str) -> None:
    """Refuses a sheet with cells so far apart that the table between them would fill the memory.

    Raises:
        InputError: as `check_unpacked`.
    """
    check_archive(path, name)
    with ZipFile(path) as archive:
        for member in archive.namelist():
            if member.startswith("xl/worksheets/") and member.endswith(".xml"):
                with archive.open(member) as file:
                    columns, rows = _last_place(file)
                check_unpacked(path, name, columns * rows * _CELL)


def _last_place(file: Any) -> tuple[int, int]:
    """The last column and the last row, from 1, in which a sheet of .xlsx has a cell."""
    rest, last, rows = b"", b"A", 1
    while part := file.read(_READ):
        text = rest + part
        cells = _PLACE.findall(text)
        last = max((last, *{letters for letters, _ in cells}), key=_in_order)
        rows = max((rows, *{int(row) for _, row in cells}))
        rest = text[-_LONG:]
    columns = 0
    for letter in last:
        columns = 26 * columns + letter - 64
    return columns, rows


def _in_order(letters: bytes) -> tuple[int, bytes]:
    """Z comes before AA."""
    return len(letters), letters
