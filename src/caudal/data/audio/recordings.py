"""From what the user names to recordings, and from their files to amplitudes."""

import os
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, NamedTuple, cast

import numpy as np

from caudal.data import builtin
from caudal.data.files.folder import kind_of_folder, read_file, read_folder
from caudal.data.files.jobs import FaultError
from caudal.data.files.lots import AUDIO, FOREIGN, Listing, Lot
from caudal.data.files.members import Member
from caudal.data.files.tars import finds_tars, kind_of_tars, read_tars
from caudal.data.refusals import BUILT_IN, SOUNDS, missing_file
from caudal.data.unpacked import check_size
from caudal.errors import InputError, one_line
from caudal.files import check_regular

FORMATS = (
    f"a folder of audio ({' '.join(AUDIO.suffixes)}), one such file, .tar, or {' '.join(SOUNDS)}"
)


class Sound(NamedTuple):
    """Amplitudes, float32 (T, channels), and how many there are a second."""

    samples: np.ndarray
    rate: int


class Stretch(NamedTuple):
    """The samples `start` to `stop` of a recording, at its own rate."""

    raw: Path | Member | Sound
    start: int
    stop: int


Raw = Path | Member | Sound | Stretch
"""A recording as a source has it: a file, one in a tar, amplitudes, or a stretch of these."""


class Header(NamedTuple):
    """What the header of a file says."""

    rate: int
    samples: int
    channels: int


def finds_audio(data: Any) -> bool:
    """Whether `data` looks like audio and not like images or a table; reads names alone.

    A folder does if it holds audio files, and more of them than images.
    """
    if not isinstance(data, str | os.PathLike):
        return _are_sounds(data)
    name = os.fspath(data)
    if name in BUILT_IN:
        return name in SOUNDS
    if finds_tars(name):
        return kind_of_tars(name) is AUDIO
    path = Path(name)
    if not path.is_dir():
        return path.is_file() and AUDIO.fits(path)
    return kind_of_folder(path) is AUDIO


def find_audio(data: Any) -> Listing:
    """What recordings there are, and in which parts.

    Raises:
        InputError: there are none.
    """
    if _are_sounds(data):
        return _in_memory(data)
    if isinstance(data, list):
        raise _no_sounds(data)
    if not isinstance(data, str | os.PathLike):
        raise InputError(
            f"a {type(data).__name__} is no audio: give {FORMATS}, or a list of pairs "
            f"(amplitudes, rate)"
        )
    name = os.fspath(data)
    if name in SOUNDS:
        waves, titles, labels = builtin.vowels()
        sounds = [Sound(wave[:, None], builtin.RATE) for wave in waves]
        lot = Lot(name, sounds, len(sounds), titles, "{name}, {title}", labels)
        return Listing(AUDIO, name, (lot,))
    if name in BUILT_IN:
        raise InputError(f"{name} is no audio: give {FORMATS}")
    if finds_tars(name):
        return read_tars(name, AUDIO)
    path = Path(name)
    if path.is_dir():
        return read_folder(path, name, AUDIO)
    if not path.exists():
        raise missing_file(name)
    check_regular(path)
    if AUDIO.fits(path):
        return read_file(path, name, AUDIO, title=path.name)
    raise InputError(f"{name}: unknown kind of file '{path.suffix}'; audio is {FORMATS}")


def _are_sounds(data: Any) -> bool:
    """Whether `data` is a list of clips, each a pair of amplitudes (T,) or (T, channels), rate."""
    return isinstance(data, list) and len(data) > 0 and all(map(_is_sound, data))


def _no_sounds(data: list[Any]) -> InputError:
    """The error for a list that is none of clips."""
    if not data:
        return InputError("the list of clips is empty: give pairs (amplitudes, rate)")
    number, clip = next((n, clip) for n, clip in enumerate(data, 1) if not _is_sound(clip))
    what = f"clip {number} is a {type(clip).__name__}"
    if np.ndim(clip) in (1, 2) and not isinstance(clip, str | tuple):
        what += " without its rate"
    return InputError(f"{what}: give pairs (amplitudes, rate), the rate a whole number")


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


def read_sound(raw: Raw, place: str) -> Sound:
    """The amplitudes of a recording.

    Raises:
        FaultError: it cannot be read.
    """
    if isinstance(raw, Stretch):
        whole, some = raw.raw, slice(raw.start, raw.stop)
        if isinstance(whole, Sound) or is_foreign(whole):
            sound = read_sound(whole, place)
            return Sound(sound.samples[some], sound.rate)
        return _read_file(whole, place, raw.start, raw.stop)
    if isinstance(raw, Sound):
        return raw
    return read_foreign(raw, place) if is_foreign(raw) else _read_file(raw, place)


def _read_file(raw: Path | Member, place: str, start: int = 0, stop: int | None = None) -> Sound:
    """The samples of a file from `start` to `stop`."""
    import soundfile

    try:
        with _opened(raw) as file:
            source = raw if isinstance(raw, Path) else file  # libsndfile reads paths by itself
            info = soundfile.info(source)
            end = info.frames if stop is None else stop
            check_size(_size_of(raw), place, 4.0 * (end - start) * info.channels)
            file.seek(0)
            read = soundfile.read(source, start=start, stop=stop, dtype="float32", always_2d=True)
            file.seek(0)
            head = file.read(8)
    except InputError:
        raise
    except (soundfile.SoundFileError, OSError, ValueError, MemoryError) as error:
        raise _unreadable(raw, place, error) from None
    if _is_cut_off(head, _size_of(raw)):
        raise FaultError(place, "ends too early, it was cut off", "copy it anew")
    return Sound(*read)


def _opened(raw: Path | Member) -> BinaryIO:
    """A recording as a file."""
    return raw.open("rb") if isinstance(raw, Path) else cast(BinaryIO, raw.open())


def _size_of(raw: Path | Member) -> int:
    """The bytes of a recording."""
    return raw.stat().st_size if isinstance(raw, Path) else raw.size


def read_foreign(path: Path | Member, place: str) -> Sound:
    """The amplitudes of a file that only ffmpeg reads, such as .m4a.

    Raises:
        FaultError: there is no ffmpeg, or it cannot read the file.
    """
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        what = f"is {path.suffix} audio, which ffmpeg reads, and there is no ffmpeg"
        raise FaultError(place, what, "install it (https://ffmpeg.org), or convert to .flac")
    with TemporaryDirectory() as folder:
        wav = Path(folder) / "clip.wav"
        if isinstance(path, Member):  # ffmpeg reads files alone
            alone = Path(folder) / f"clip{path.suffix}"
            alone.write_bytes(path.read())
            path = alone
        words = [ffmpeg, "-v", "error", "-nostdin", "-i", str(path.absolute()), "-vn"]
        done = subprocess.run([*words, "-c:a", "pcm_f32le", str(wav)], capture_output=True)
        if done.returncode or not wav.is_file():
            why = done.stderr.decode(errors="replace").strip().splitlines()[-1:] or ["no words"]
            why[0] = why[0].rpartition(f"{path.absolute()}: ")[2].rstrip(". ")[:120]
            raise FaultError(place, f"cannot be read by ffmpeg ({why[0]})", "convert it anew")
        return _read_file(wav, place)


def is_foreign(path: Path | Member) -> bool:
    """Whether only ffmpeg reads such a file."""
    return path.suffix.casefold() in FOREIGN


def read_header(raw: Raw) -> Header | None:
    """What the header of a recording says, None where it cannot be read."""
    if isinstance(raw, Stretch):
        whole = read_header(raw.raw)
        return whole and whole._replace(samples=raw.stop - raw.start)
    if isinstance(raw, Sound):
        return Header(raw.rate, *raw.samples.shape)
    if is_foreign(raw):  # it has no header that could be read apart
        try:
            return read_header(read_foreign(raw, str(raw)))
        except FaultError:
            return None
    import soundfile

    try:
        with _opened(raw) as file:
            info = soundfile.info(raw if isinstance(raw, Path) else file)
    except (soundfile.SoundFileError, OSError, ValueError):
        return None
    return Header(info.samplerate, info.frames, info.channels)


def _is_cut_off(head: bytes, size: int) -> bool:
    """Whether a WAV file is shorter than it says, which libsndfile does not complain about.

    Where the size was not known when the file was written, it says zero or the most it can.
    """
    told = int.from_bytes(head[4:], "little")
    return head[:4] == b"RIFF" and told not in (0, 0xFFFFFFFF) and size < told


def _unreadable(raw: Path | Member, place: str, error: Exception) -> FaultError:
    try:
        if _size_of(raw) == 0:
            return FaultError(place, "is empty", "copy it anew")
    except OSError as problem:
        return FaultError(place, f"cannot be read, {problem.strerror}", "make it readable")
    why = one_line(error).rpartition(": ")[2].rstrip(". ")[:120]
    why = why or type(error).__name__
    return FaultError(place, f"cannot be read as audio ({why})", "copy or convert it anew")
