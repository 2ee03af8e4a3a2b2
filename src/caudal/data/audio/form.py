"""From a recording to a clip: one channel, one rate, no silence at the ends, one peak."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from caudal.data.audio.recordings import Raw, read_sound
from caudal.data.audio.schema import AudioSchema
from caudal.data.files.jobs import FaultError

_SHORTEST = 0.05  # seconds
_FRAME, _MARGIN, _QUIET = 0.01, 0.02, 0.01  # seconds, seconds, of the loudest frame: -40 dB
_PEAK = 0.95
_SILENT = 1e-4  # share of full scale: -80 dB
_FULL, _RUN, _MUCH = 0.999, 3, 0.01
_OFFSET, _OF_SPREAD = 0.01, 0.1  # shares of full scale and of the standard deviation
_CANCELLED = 0.01  # share of the power of the channels: -20 dB
_BEYOND = 2.0  # MP3 and resampling exceed full scale a little, and that is no fault


class Treatment(NamedTuple):
    """What was done to a recording, and what there is to say of it.

    Attributes:
        gain: what its amplitudes were multiplied by, 1 where clips are not scaled.
        offset: the constant that was taken off, of full scale.
        clipped: the share of its samples that are clipped.
    """

    gain: float = 1.0
    offset: float = 0.0
    clipped: float = 0.0


class Take(NamedTuple):
    """A recording as a clip, int16 (T,), and what was done to it."""

    samples: np.ndarray
    treatment: Treatment


@dataclass(frozen=True)
class Form:
    """What is done to each recording, in this order.

    Channels are averaged; a constant that all samples have in them is taken off; the rate is
    changed by soxr; frames of 10 ms at both ends that are more than 40 dB below the loudest one
    are cut off, except for 20 ms; the peak becomes 0.95.
    """

    schema: AudioSchema

    def read(self, raw: Raw, place: str) -> Take:
        """The clip.

        Raises:
            FaultError: the recording cannot be used.
        """
        schema = self.schema
        sound = read_sound(raw, place)
        clipped = check_samples(sound.samples, place, schema.normalize)
        wave, offset = without_offset(sound.samples.mean(axis=1))
        wave = resample(wave, sound.rate, schema.rate)
        if schema.trim:
            wave = trim(wave, schema.rate)
        if len(wave) < max(_SHORTEST * schema.rate, schema.hop):
            what = f"is too short, {len(wave) / schema.rate:.3f} s"
            raise FaultError(place, what + (" after trimming" if schema.trim else ""), "remove it")
        gain = _PEAK / float(np.abs(wave).max()) if schema.normalize else 1.0
        return Take(schema.encode(wave * gain), Treatment(gain, offset, clipped))


def without_offset(wave: np.ndarray) -> tuple[np.ndarray, float]:
    """Amplitudes (T,) without the constant in them, and that; 0 where it is small."""
    if not len(wave):
        return wave, 0.0
    offset = float(wave.mean(dtype=np.float64))
    if abs(offset) < max(_OFFSET, _OF_SPREAD * float(wave.std(dtype=np.float64))):
        return wave, 0.0
    return wave - np.float32(offset), offset


def check_samples(samples: np.ndarray, place: str, scaled: bool) -> float:
    """Refuses amplitudes (T, channels) that are no recording, or a damaged one.

    It gives the share of samples that are clipped, in the channel that has most of them.

    Args:
        samples: the amplitudes.
        place: what errors call the recording.
        scaled: whether clips will be scaled to one peak, so that any scale is right.

    Raises:
        FaultError: they are not finite, silent, clipped, or out of scale.
    """
    if not np.isfinite(samples).all():
        raise FaultError(place, "has samples that are NaN or infinite", "export it anew")
    peak = float(np.abs(samples).max(initial=0.0))
    if len(samples) and (peak < _SILENT or (samples == samples[0]).all()):
        raise FaultError(place, "is silent", "remove it")
    if peak > _BEYOND and not scaled:
        raise FaultError(place, f"peaks at {peak:g} times full scale", "scale it to -1 .. 1")
    share = max((clipped_share(channel) for channel in samples.T), default=0.0)
    if share > _MUCH:
        what = f"is clipped in {share:.0%} of its samples"
        raise FaultError(place, what, "record or export it at a lower level")
    if len(samples) and _cancel(samples):
        raise FaultError(place, "is out of phase, its channels cancel out", "keep one channel")
    return share


def _cancel(samples: np.ndarray) -> bool:
    """Whether the mean of channels (T, channels) has hardly any of their power."""
    power = float(np.square(samples - samples.mean(axis=0)).mean())
    mixed = samples.mean(axis=1)
    return float(np.square(mixed - mixed.mean()).mean()) < _CANCELLED * power


def clipped_share(samples: np.ndarray) -> float:
    """The share of samples (T,) in runs of three or more equal ones at full scale."""
    if len(samples) < _RUN or np.abs(samples).max() < _FULL:
        return 0.0
    full = np.abs(samples) >= _FULL
    equal = (samples[1:] == samples[:-1]) & full[1:]
    inner = equal[1:] & equal[:-1]  # the last of three equal ones
    held = np.zeros(len(samples), bool)
    for shift in range(_RUN):
        held[shift : shift + len(inner)] |= inner
    return float(held.mean())


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
