"""What an ear hears first of a copied voice: pitch, voicing, and how hoarse it is."""

import math
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

STEP, LOWEST, HIGHEST = 0.01, 75.0, 600.0  # seconds a frame; Hz
SHORTEST = 0.1  # seconds of a sound that has a pitch to be found
SILENT = -200.0  # dB, Praat's harmonicity of a frame without sound
MISSING = "Pitch and voicing are measured by Praat: pip install 'caudal[pitch]'."


class Hearing(NamedTuple):
    """How a copy differs from an original to the ear; NaN where there is nothing to compare.

    Attributes:
        voicing: F1 of the copy's voiced frames, the original's being right: 1 is equal.
        pitch: median |difference| of pitch, in semitones, over frames in which both are voiced.
        pitch_rms: root mean square of it, in which octave errors count.
        harmonicity: harmonics-to-noise ratio, copy less original, in dB, over frames whose
            harmonics are louder than their noise in the original.
    """

    voicing: float
    pitch: float
    pitch_rms: float
    harmonicity: float


def hears() -> bool:
    """Whether the package that finds pitch is installed."""
    return find_spec("parselmouth") is not None


def hearing(x: Tensor, y: Tensor, rate: int) -> Hearing:
    """Compares the voice of a copy y (T,) to that of an original x (T,), amplitudes.

    Pitch is Praat's, from 75 to 600 Hz, by autocorrelation. Reference: Accurate short-term
    analysis of the fundamental frequency and the harmonics-to-noise ratio of a sampled sound
    (Boersma, 1993).

    Raises:
        ModuleNotFoundError: praat-parselmouth is not installed.
    """
    if len(x) < SHORTEST * rate:
        return Hearing(*[math.nan] * 4)
    original, copy = _sound(x, rate), _sound(y, rate)
    a, b = _pitch(original), _pitch(copy)
    both = (a > 0) & (b > 0)
    apart = 12 * np.abs(np.log2(b[both] / a[both]))
    voiced = (a > 0).sum() + (b > 0).sum()
    f1 = 2 * both.sum() / voiced if voiced else math.nan
    median, square = (np.median(apart), np.mean(apart**2)) if both.any() else (math.nan, math.nan)
    return Hearing(
        float(f1), float(median), math.sqrt(square), _harmonicity_difference(original, copy)
    )


def _sound(wave: Tensor, rate: int) -> Any:
    return import_module("parselmouth").Sound(wave.double().cpu().numpy(), rate)


def _pitch(sound: Any) -> np.ndarray:
    """Hz of each frame, 0 where it is not voiced."""
    pitch = sound.to_pitch_ac(time_step=STEP, pitch_floor=LOWEST, pitch_ceiling=HIGHEST)
    return np.asarray(pitch.selected_array["frequency"])


def _harmonicity_difference(original: Any, copy: Any) -> float:
    a, b = (
        sound.to_harmonicity_cc(time_step=STEP, minimum_pitch=LOWEST).values[0]
        for sound in (original, copy)
    )
    some = (a > 0) & (b > SILENT)
    return float((b - a)[some].mean()) if some.any() else math.nan
