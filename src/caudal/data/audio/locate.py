"""From what `--data` says to recordings: a folder, a file by its suffix, or a built-in name."""

import os
from itertools import islice
from pathlib import Path
from typing import Any

from caudal.data.audio import builtin
from caudal.data.audio.folder import SUFFIXES, files_in, is_audio, read_file, read_folder
from caudal.data.audio.recordings import Found
from caudal.data.builtin import NAMES
from caudal.data.images.form import SUFFIXES as IMAGES
from caudal.data.locate import missing_file
from caudal.errors import InputError

FORMATS = f"a folder of audio ({' '.join(SUFFIXES)}), one such file, or {' '.join(builtin.NAMES)}"
_MOST = 20_000  # files looked at to tell what a folder holds


def finds_audio(data: Any) -> bool:
    """Whether `data` looks like audio, not like images or a table; reads names alone.

    A folder does where it holds audio files, and not as many images.
    """
    if not isinstance(data, str | os.PathLike):
        return False
    name = os.fspath(data)
    if name in NAMES:
        return name in builtin.NAMES
    path = Path(name)
    if not path.is_dir():
        return path.is_file() and is_audio(path)
    suffixes = [file.suffix.casefold() for file in islice(files_in(path), _MOST)]
    sounds, images = (sum(s in known for s in suffixes) for known in (SUFFIXES, IMAGES))
    return sounds > images


def find_audio(data: Any) -> Found:
    """What recordings there are, and in which parts.

    Raises:
        InputError: there are none.
    """
    if not isinstance(data, str | os.PathLike):
        raise InputError(f"a {type(data).__name__} is no audio: give {FORMATS}")
    name = os.fspath(data)
    if name in builtin.NAMES:
        return builtin.read_built_in(name)
    if name in NAMES:
        raise InputError(f"{name} is no audio: give {FORMATS}")
    path = Path(name)
    if path.is_dir():
        return read_folder(path, name)
    if not path.exists():
        raise missing_file(name)
    if is_audio(path):
        return read_file(path, name)
    raise InputError(f"{name}: unknown kind of file '{path.suffix}'; audio is {FORMATS}")
