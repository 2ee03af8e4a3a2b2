"""From what the user names to recordings: a folder, a file by its suffix, or a built-in name."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from caudal.data.audio import builtin
from caudal.data.audio.form import Sound
from caudal.data.files.find import kind_of_folder, read_file, read_folder
from caudal.data.files.lots import AUDIO, Listing, Lot
from caudal.data.names import BUILT_IN, SOUNDS, missing_file
from caudal.errors import InputError

FORMATS = f"a folder of audio ({' '.join(AUDIO.suffixes)}), one such file, or {' '.join(SOUNDS)}"


def finds_audio(data: Any) -> bool:
    """Whether `data` looks like audio and not like images or a table; reads names alone.

    A folder does if it holds audio files, and more of them than images.
    """
    if not isinstance(data, str | os.PathLike):
        return _are_sounds(data)
    name = os.fspath(data)
    if name in BUILT_IN:
        return name in SOUNDS
    path = Path(name)
    if not path.is_dir():
        return path.is_file() and AUDIO.fits(path)
    return kind_of_folder(path) is AUDIO


def _are_sounds(data: Any) -> bool:
    """Whether `data` is a list of clips, each a pair of amplitudes (T,) or (T, channels), rate."""
    return isinstance(data, list) and len(data) > 0 and all(map(_is_sound, data))


def _is_sound(clip: Any) -> bool:
    is_pair = isinstance(clip, tuple) and len(clip) == 2
    return is_pair and np.ndim(clip[0]) in (1, 2) and isinstance(clip[1], int | np.integer)


def _in_memory(data: list[Any]) -> Listing:
    """Clips from Python, called by their numbers."""
    sounds = [_sound(wave, int(rate), number) for number, (wave, rate) in enumerate(data, 1)]
    titles = [f"{number:04}" for number in range(1, len(sounds) + 1)]
    lot = Lot("clips", sounds, len(sounds), titles, "{name}, clip {number}")
    return Listing(AUDIO, "clips", (lot,))


def _sound(wave: Any, rate: int, number: int) -> Sound:
    """Amplitudes in [-1, 1]; whole numbers are taken as parts of their full scale."""
    samples = np.asarray(wave)
    if samples.dtype.kind in "iu":
        samples = samples / float(np.iinfo(samples.dtype).max + 1)
    elif samples.dtype.kind != "f":
        raise InputError(f"clip {number} holds values of type {samples.dtype}: give amplitudes")
    samples = samples.astype(np.float32)
    return Sound(samples[:, None] if samples.ndim == 1 else samples, rate)


def find_audio(data: Any) -> Listing:
    """What recordings there are, and in which parts.

    Raises:
        InputError: there are none.
    """
    if _are_sounds(data):
        return _in_memory(data)
    if not isinstance(data, str | os.PathLike):
        raise InputError(
            f"a {type(data).__name__} is no audio: give {FORMATS}, or a list of pairs "
            f"(amplitudes, rate)"
        )
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
