"""Arrays of numbers in MATLAB files of version 5, which MATLAB writes up to its version 7.2.

scipy's reader ends the process where a file is damaged in some places. Here each length is held
against the bytes that there are.
Reference: MathWorks, MAT-file format, chapter 1: level 5.
"""

import math
import mmap
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

_HEADER = 128  # bytes: a text, the version, and by the order of two letters that of bytes
_ORDERS = {b"IM": "<", b"MI": ">"}
_VERSION = 0x0100
_MATRIX, _COMPRESSED = 14, 15
_TYPES = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
"""How numbers are kept, by the code of an element."""
_INT32, _UINT32 = 5, 6
_NUMBERS = range(6, 16)  # classes of arrays; others are cells, structures, texts, sparse ones
_COMPLEX = 1 << 11
_PEEKED = 1024  # bytes, in which the shape and the name of an array are


class DamagedError(ValueError):
    """The bytes are not what the format says."""


@dataclass(frozen=True)
class _Array:
    """What stands before the numbers of an array.

    Attributes:
        name: of the variable.
        shape: as MATLAB has it, the first dimension the fastest.
        is_numbers: whether it is an array of real numbers, kept in full.
        size: bytes of the array as they are unpacked.
        values: what is left to read.
    """

    name: str
    shape: tuple[int, ...]
    is_numbers: bool
    size: int
    values: Iterator[tuple[int, memoryview]]


def shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays of numbers in a file, by their names; numbers are not read.

    Raises:
        DamagedError: it is no such file, or it is damaged.
    """
    data, order = _open(path)
    heads = (_head(*element, order) for element in _elements(data, order))
    return {head.name: head.shape for head in heads if head and head.is_numbers}


def unpacked_size(path: Path) -> int:
    """How many bytes all arrays of a file say that they unpack to.

    Raises:
        DamagedError: as `shapes_in`.
    """
    data, order = _open(path)
    heads = (_head(*element, order) for element in _elements(data, order))
    return sum(max(head.size, math.prod(head.shape)) for head in heads if head)


def arrays_in(path: Path) -> dict[str, np.ndarray]:
    """The arrays of real numbers in a file, by their names, in the type in which they are kept.

    Raises:
        DamagedError: as `shapes_in`.
    """
    data, order = _open(path)
    found: dict[str, np.ndarray] = {}
    for kind, part in _elements(data, order):
        head = _head(kind, part, order)
        if head is None or not head.is_numbers:
            continue
        if kind == _COMPRESSED:
            whole = _unpack(part, head.size)
            if len(whole) < head.size:
                raise DamagedError(f"'{head.name}' is cut short")
            head = _read_head(memoryview(whole)[8:], order, head.size)
        found[head.name] = _values(head, order)
    return found


def _open(path: Path) -> tuple[memoryview, str]:
    """What follows the header, and the order of bytes in numbers."""
    with path.open("rb") as file:
        header = file.read(_HEADER)
        order = _ORDERS.get(header[126:])
        if order is None or struct.unpack(f"{order}H", header[124:126])[0] != _VERSION:
            raise DamagedError("it does not begin as files of version 5 do")
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    return whole[_HEADER:], order


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """The code and the content of each element; those of up to four bytes stand in their tag."""
    at = 0
    while at < len(data):
        if len(data) - at < 8:
            raise DamagedError("it ends within a tag")
        kind, size = struct.unpack_from(f"{order}II", data, at)
        if kind >> 16:
            kind, size, start, end = kind & 0xFFFF, kind >> 16, at + 4, at + 8
            is_whole = size <= 4
        else:
            start = at + 8
            end = start + size if kind == _COMPRESSED else start + -(-size // 8) * 8
            is_whole = start + size <= len(data)
        if not is_whole:
            raise DamagedError(f"an element of {size:,} bytes is cut short")
        yield kind, data[start : start + size]
        at = end


def _head(kind: int, part: memoryview, order: str) -> _Array | None:
    """The array that an element holds, if it holds one."""
    if kind == _MATRIX:
        return _read_head(part, order, len(part))
    if kind != _COMPRESSED:
        return None
    first = _unpack(part, _PEEKED)
    if len(first) < 8:
        raise DamagedError("an element is cut short")
    inner, size = struct.unpack_from(f"{order}II", first)
    return _read_head(memoryview(first)[8:], order, 8 + size) if inner == _MATRIX else None


def _unpack(part: memoryview, most: int) -> bytes:
    try:
        return zlib.decompressobj().decompress(part, most)
    except zlib.error as error:
        raise DamagedError(str(error)) from None


def _read_head(data: memoryview, order: str, size: int) -> _Array:
    elements = _elements(data, order)
    kind, flags = next(elements, (0, data[:0]))
    if kind != _UINT32 or len(flags) != 8:
        raise DamagedError("an array has no class")
    (bits,) = struct.unpack_from(f"{order}I", flags)
    if (bits & 0xFF) not in _NUMBERS:  # objects have no shape here
        return _Array("", (), False, size, elements)
    first = list(islice(elements, 2))
    if len(first) < 2:
        raise DamagedError("an array ends before its numbers")
    (shape_kind, shape), (_, name) = first
    if shape_kind != _INT32 or len(shape) % 4:
        raise DamagedError("an array has no shape")
    sizes = tuple(np.frombuffer(shape, f"{order}i4").tolist())
    if min(sizes, default=0) < 0 or len(sizes) < 2:
        raise DamagedError(f"an array has the shape {sizes}")
    is_numbers = not bits & _COMPLEX
    return _Array(bytes(name).decode("latin-1"), sizes, is_numbers, size, elements)


def _values(head: _Array, order: str) -> np.ndarray:
    kind, content = next(head.values, (0, memoryview(b"")))
    count = math.prod(head.shape)
    if kind not in _TYPES or len(content) != count * int(_TYPES[kind][1]):
        raise DamagedError(f"'{head.name}' does not hold the {count:,} numbers of its shape")
    values = np.frombuffer(content, f"{order}{_TYPES[kind]}")
    try:
        return values.astype(_TYPES[kind], copy=False).reshape(head.shape, order="F")
    except ValueError as error:  # NumPy has no arrays of 70 dimensions, nor of any shape with a 0
        raise DamagedError(f"'{head.name}': {error}") from None
