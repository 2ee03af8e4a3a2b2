"""Clips into files: nothing is there until all of it is."""

from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from types import TracebackType

import numpy as np

from caudal.data.audio.folder import stem_of
from caudal.data.writing import writing
from caudal.errors import InputError
from caudal.files import atomic, atomic_folder

_SOUNDS = (".wav", ".flac", ".ogg")
_ARRAYS = (".npy", ".npz")
FORMATS = f"{' '.join(_SOUNDS)} (one clip), {' '.join(_ARRAYS)}, or a folder (no suffix)"


class AudioWriter:
    """Writes clips, int16 (T,) each, one lot after the other, as a context manager.

    Nothing is at `path` until the block ends well; then all of it is. A `.wav`, `.flac` or `.ogg`
    file holds one clip, of 16 bits; a `.npy` file is (N, T), and a `.npz` file holds that as
    `audio` beside the `rate`; a path without a suffix becomes a folder of WAV files, called by
    their number or by the names that are given.

    Args:
        path: where to.
        rate: samples a second.

    Raises:
        InputError: at once, for an unknown suffix, or where something is in the way.
    """

    def __init__(self, path: str | Path, rate: int) -> None:
        self.path = Path(path)
        self.rate = rate
        self._write = self._writer()
        self._clips: list[np.ndarray] = []
        self._names: list[str] = []
        self._is_open = False

    def __enter__(self) -> "AudioWriter":
        self._is_open = True
        return self

    def check(self, count: int) -> None:
        """Refuses more clips than the form can hold, before there are any.

        Raises:
            InputError: names the file, and forms that can.
        """
        if self.path.suffix.casefold() in _SOUNDS and count > 1:
            raise InputError(
                f"{self.path}: {count} clips do not go into one {self.path.suffix} file: give a "
                f"folder (no suffix), or .npz"
            )

    def write(self, clips: Sequence[np.ndarray], names: Sequence[str] | None = None) -> None:
        """Appends clips, and perhaps what to call each.

        Raises:
            InputError: too many, or of other lengths than an array can hold.
        """
        if not self._is_open:
            raise RuntimeError("write inside the with-block")
        self.check(len(self._clips) + len(clips))
        lengths = {len(clip) for clip in (*self._clips[:1], *clips)}
        if self.path.suffix.casefold() in _ARRAYS and len(lengths) > 1:
            raise InputError(f"{self.path}: clips of several lengths need a folder (no suffix)")
        first = len(self._clips) + 1
        self._clips += [np.asarray(clip, np.int16) for clip in clips]
        self._names += names or [f"{first + i:04d}" for i in range(len(clips))]

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._is_open = False
        if error is not None:
            return
        if not self._clips:
            raise InputError(f"{self.path}: there are no clips to write")
        with writing(self.path):
            self._write()

    def _writer(self) -> Callable[[], None]:
        path, suffix = self.path, self.path.suffix.casefold()
        if suffix:
            if suffix not in (*_SOUNDS, *_ARRAYS):
                known = f"known are {FORMATS}"
                raise InputError(f"{path}: cannot write '{path.suffix}' files; {known}")
            if path.is_dir():
                raise InputError(f"{path} is a folder: give another name ({FORMATS})")
            return self._write_sound if suffix in _SOUNDS else self._write_array
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            raise InputError(f"{path} is there already: clips go to a new folder, or an empty one")
        return self._write_folder

    def _write_sound(self) -> None:
        with atomic(self.path) as temporary:
            save(temporary, self._clips[0], self.rate)

    def _write_array(self) -> None:
        whole = np.stack(self._clips)
        with atomic(self.path) as temporary, temporary.open("wb") as file:
            if self.path.suffix.casefold() == ".npy":
                np.save(file, whole)
            else:
                np.savez_compressed(file, audio=whole, rate=self.rate)

    def _write_folder(self) -> None:
        with atomic_folder(self.path) as temporary:
            taken: set[str] = set()
            for name, clip in zip(self._names, self._clips, strict=True):
                save(temporary / f"{_free(_file_name(name), taken)}.wav", clip, self.rate)


def save(path: Path, clip: np.ndarray, rate: int) -> None:
    """One clip as a file of 16 bits.

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
    stem = stem_of(name).replace("\\", "/").replace("\0", "_")
    parts = [part for part in PurePosixPath(stem).parts if part not in ("/", "..")]
    return "_".join(parts).lstrip(".") or "_"


def _free(name: str, taken: set[str]) -> str:
    """The name, or with a number where it is taken; systems may not tell cases apart."""
    free, count = name, 1
    while free.casefold() in taken:
        count += 1
        free = f"{name}_{count}"
    taken.add(free.casefold())
    return free
