"""Files as pyarrow takes them whatever they are called: of names it knows only those in UTF-8."""

import os
from pathlib import Path

import pyarrow as pa


def source_of(path: Path) -> pa.NativeFile:
    """A file to read."""
    return pa.OSFile(os.fsencode(path))


def mapped(path: Path) -> pa.NativeFile:
    """A file to read, as memory."""
    return pa.memory_map(os.fsencode(path))


def sink_of(path: Path) -> pa.NativeFile:
    """A file to write; close it in the end."""
    return pa.OSFile(os.fsencode(path), "wb")
