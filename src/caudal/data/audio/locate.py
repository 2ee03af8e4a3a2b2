"""From what the user names to recordings: a folder, a file by its suffix, or a built-in name."""

import os
from itertools import islice
from pathlib import Path
from typing import Any

from caudal.data.audio import builtin
from caudal.data.files.find import Walk, read_file, read_folder
from caudal.data.files.lots import AUDIO, IMAGES, Listing
from caudal.data.names import BUILT_IN, SOUNDS, missing_file
from caudal.errors import InputError

FORMATS = f"a folder of audio ({' '.join(AUDIO.suffixes)}), one such file, or {' '.join(SOUNDS)}"
_MOST = 20_000  # files looked at to judge what a folder holds


def finds_audio(data: Any) -> bool:
    """Whether `data` looks like audio and not like images or a table; reads names alone.

    A folder does if it holds audio files, and more of them than images.
    """
    if not isinstance(data, str | os.PathLike):
        return False
    name = os.fspath(data)
    if name in BUILT_IN:
        return name in SOUNDS
    path = Path(name)
    if not path.is_dir():
        return path.is_file() and AUDIO.fits(path)
    files = list(islice(Walk(path), _MOST))
    return sum(map(AUDIO.fits, files)) > sum(map(IMAGES.fits, files))


def find_audio(data: Any) -> Listing:
    """What recordings there are, and in which parts.

    Raises:
        InputError: there are none.
    """
    if not isinstance(data, str | os.PathLike):
        raise InputError(f"a {type(data).__name__} is no audio: give {FORMATS}")
    name = os.fspath(data)
    if name in SOUNDS:
        return builtin.read_built_in(name)
    if name in BUILT_IN:
        raise InputError(f"{name} is no audio: give {FORMATS}")
    path = Path(name)
    if path.is_dir():
        return read_folder(path, name, AUDIO)
    if not path.exists():
        raise missing_file(name)
    if AUDIO.fits(path):
        return read_file(path, name, AUDIO, title=path.name)
    raise InputError(f"{name}: unknown kind of file '{path.suffix}'; audio is {FORMATS}")
