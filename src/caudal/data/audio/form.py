"""From a recording to a clip: one channel, one rate, no silence at the ends, one peak."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from caudal.data.audio.faults import FaultError, check_samples
from caudal.data.audio.recordings import Recording, Sound
from caudal.data.audio.schema import AudioSchema

_SHORTEST = 0.05  # seconds
_FRAME, _MARGIN, _QUIET = 0.01, 0.02, 0.01  # seconds, seconds, of the loudest frame: -40 dB
_PEAK = 0.95


class Header(NamedTuple):
    """What a file says of itself."""

    rate: int
    samples: int
    channels: int


@dataclass(frozen=True)
class Form:
    """What is done to each recording, in this order.

    Channels are averaged, the rate is changed by soxr, frames of 10 ms at both ends that are more
    than 40 dB below the loudest are cut off but for 20 ms, and the peak becomes 0.95.
    """

    schema: AudioSchema

    def read(self, recording: Recording) -> np.ndarray:
        """The clip, int16 (T,).

        Raises:
            FaultError: says what is wrong with the recording.
        """
        place, schema = recording.place, self.schema
        sound = read_sound(recording)
        check_samples(sound.samples, place, schema.normalize)
        wave = resample(sound.samples.mean(axis=1), sound.rate, schema.rate)
        if schema.trim:
            wave = trim(wave, schema.rate)
        if len(wave) < max(_SHORTEST * schema.rate, schema.hop):
            what = f"is too short, {len(wave) / schema.rate:.3f} s"
            raise FaultError(place, what + (" after trimming" if schema.trim else ""), "remove it")
        peak = float(np.abs(wave).max())
        if peak == 0:
            raise FaultError(place, "is silent, its channels cancel out", "keep one channel")
        return schema.encode(wave * (_PEAK / peak) if schema.normalize else wave)


def read_sound(recording: Recording) -> Sound:
    """The amplitudes of a recording.

    Raises:
        FaultError: it cannot be read.
    """
    if isinstance(recording.raw, Sound):
        return recording.raw
    import soundfile

    try:
        samples, rate = soundfile.read(recording.raw, dtype="float32", always_2d=True)
    except (soundfile.SoundFileError, OSError, ValueError, MemoryError) as error:
        raise _unreadable(recording.raw, recording.place, error) from None
    if _is_cut_off(recording.raw):
        raise FaultError(recording.place, "ends too early, it was cut off", "copy it anew")
    return Sound(samples, rate)


def _is_cut_off(path: Path) -> bool:
    """Whether a WAV file is shorter than it says: of such ones what is there is read in silence.

    Where the size was not known as it was written, it says zero or the most it can.
    """
    with path.open("rb") as file:
        head = file.read(8)
    size = int.from_bytes(head[4:], "little")
    said = head[:4] == b"RIFF" and size not in (0, 0xFFFFFFFF)
    return said and path.stat().st_size < size


def read_header(recording: Recording) -> Header | None:
    """What a recording says of itself, None where it cannot be read."""
    if isinstance(recording.raw, Sound):
        samples, rate = recording.raw
        return Header(rate, *samples.shape)
    import soundfile

    try:
        found = soundfile.info(recording.raw)
    except (soundfile.SoundFileError, OSError, ValueError):
        return None
    return Header(found.samplerate, found.frames, found.channels)


def _unreadable(path: Path, place: str, error: Exception) -> FaultError:
    try:
        if path.stat().st_size == 0:
            return FaultError(place, "is empty", "copy it anew")
    except OSError as problem:
        return FaultError(place, f"cannot be read, {problem.strerror}", "see to it that it can")
    text = str(error).rpartition(f"{str(path)!r}: ")[2].rstrip(". ") or type(error).__name__
    why = " ".join(text.split())[:120]
    return FaultError(place, f"cannot be read as audio ({why})", "copy or convert it anew")


def resample(wave: np.ndarray, rate: int, to: int) -> np.ndarray:
    """Amplitudes (T,) at another rate."""
    if rate == to:
        return wave
    import soxr

    return np.asarray(soxr.resample(wave, rate, to, quality="HQ"))


def trim(wave: np.ndarray, rate: int) -> np.ndarray:
    """Amplitudes (T,) without the silence at both ends."""
    size = max(1, round(_FRAME * rate))
    frames = np.pad(wave.astype(np.float64), (0, -len(wave) % size)).reshape(-1, size)
    power = (frames**2).mean(axis=1)
    loud = np.flatnonzero(power >= power.max(initial=0.0) * _QUIET**2)
    if not len(loud):
        return wave
    margin = round(_MARGIN * rate)
    return wave[max(0, loud[0] * size - margin) : (loud[-1] + 1) * size + margin]
