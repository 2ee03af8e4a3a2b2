"""Clips into files: nothing is there until all of it is."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from caudal.data.files.lots import AUDIO
from caudal.data.writing import Opener, Writer
from caudal.errors import InputError

_SOUNDS = (".wav", ".flac", ".ogg")
_ARRAYS = (".npy", ".npz")
Write = Callable[[np.ndarray, str], None]


class AudioWriter(Writer):
    """Writes clips, int16 (T,) each, one lot after the other, as a context manager.

    Nothing is at `path` until the block ends well; then all of it is. A `.wav`, `.flac` or `.ogg`
    file holds one clip, of 16 bits; a `.npy` file is (N, T), and a `.npz` file holds that as
    `audio` beside the `rate`; a path without a suffix becomes a folder of WAV files, which are
    called by the names of the clips if they have names, else by their numbers.

    Args:
        path: where to.
        rate: samples a second.

    Raises:
        InputError: at once, for an unknown suffix, or where something is in the way.
    """

    many = "clips"
    formats = f"{' '.join(_SOUNDS)} (one clip), {' '.join(_ARRAYS)}, or a folder (no suffix)"

    def __init__(self, path: str | Path, rate: int) -> None:
        self.rate = rate
        self._lengths: list[int] = []
        super().__init__(path)

    def _opener(self) -> Opener:
        if not self.suffix:
            self._refuse_taken()
            return partial(_write_folder, rate=self.rate)
        if self.suffix not in (*_SOUNDS, *_ARRAYS):
            raise self._unknown()
        self._refuse_folder()
        write = _write_sound if self.suffix in _SOUNDS else _write_array
        return partial(write, rate=self.rate)

    def expect(self, count: int) -> None:
        """Refuses more clips than the form can hold, before there are any."""
        if self.suffix in _SOUNDS and count > 1:
            raise InputError(
                f"{self.path}: {count} clips do not go into one {self.path.suffix} file: give a "
                f"folder (no suffix), or .npz"
            )

    def write(self, clips: Sequence[np.ndarray], names: Sequence[str] | None = None) -> None:
        """Appends clips, and perhaps what to call each.

        Raises:
            InputError: there are too many, or their lengths differ where an array is written.
        """
        first = len(self._lengths)
        self.expect(first + len(clips))
        if self.suffix in _ARRAYS and len({*self._lengths[:1], *map(len, clips)}) > 1:
            raise InputError(f"{self.path}: clips of several lengths need a folder (no suffix)")
        names = names or [f"{first + i + 1:04d}" for i in range(len(clips))]
        for clip, name in zip(clips, names, strict=True):
            self._add(np.asarray(clip, np.int16), name)
            self._lengths.append(len(clip))


@contextmanager
def _write_sound(path: Path, rate: int) -> Iterator[Write]:
    yield lambda clip, _: save(path, clip, rate)


@contextmanager
def _write_array(path: Path, rate: int) -> Iterator[Write]:
    clips: list[np.ndarray] = []
    yield lambda clip, _: clips.append(clip)
    with path.open("wb") as file:
        if path.suffix.casefold() == ".npy":
            np.save(file, np.stack(clips))
        else:
            np.savez_compressed(file, audio=np.stack(clips), rate=rate)


@contextmanager
def _write_folder(path: Path, rate: int) -> Iterator[Write]:
    taken: set[str] = set()
    yield lambda clip, name: save(path / f"{_free(_file_name(name), taken)}.wav", clip, rate)


def save(path: Path, clip: np.ndarray, rate: int) -> None:
    """Writes one clip as a file of 16 bits.

    Raises:
        OSError: it cannot be written.
    """
    import soundfile

    subtype = "VORBIS" if path.suffix.casefold() == ".ogg" else "PCM_16"
    try:
        with path.open("wb") as file:
            soundfile.write(file, clip, rate, subtype, format=path.suffix[1:].upper())
    except soundfile.SoundFileError as error:
        raise OSError(f"{rate} Hz: {error}") from None


def _file_name(name: str) -> str:
    """The name of a clip as that of a file."""
    stem = AUDIO.stem(name).replace("\\", "/").replace("\0", "_")
    parts = [part for part in PurePosixPath(stem).parts if part not in ("/", "..")]
    return "_".join(parts).lstrip(".") or "_"


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number where it is taken; some systems do not tell cases apart."""
    free, count = name, 1
    while free.casefold() in taken:
        count += 1
        free = f"{name}_{count}"
    taken.add(free.casefold())
    return free
