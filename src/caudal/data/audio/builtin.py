"""The sounds that come with caudal: five vowels in two voices, made by a source and a filter."""

from functools import cache

import numpy as np

from caudal.data.audio.form import Sound
from caudal.data.files.lots import AUDIO, Listing, Lot

RATE = 8000
_FINER = 4  # the source is made at so many times the rate, and low-passed
_EACH = 60  # clips of each vowel and voice
_FORMANTS = {
    ("a", "low"): (730, 1090, 2440, 3500),
    ("e", "low"): (530, 1840, 2480, 3500),
    ("i", "low"): (270, 2290, 3010, 3500),
    ("o", "low"): (570, 840, 2410, 3500),
    ("u", "low"): (300, 870, 2240, 3500),
    ("a", "high"): (850, 1220, 2810, 3850),
    ("e", "high"): (610, 2330, 2990, 3850),
    ("i", "high"): (310, 2790, 3310, 3850),
    ("o", "high"): (590, 920, 2710, 3850),
    ("u", "high"): (370, 950, 2670, 3850),
}
"""Hz: averages over men and women by Peterson and Barney, "Control methods used in a study of the
vowels", 1952; the fourth formants are ours."""
_BANDWIDTHS = (60, 90, 150, 250)  # Hz
_SOFT = 1000  # Hz, above which a soft closure attenuates
_PITCHES = {"low": (90, 160), "high": (180, 260)}  # Hz


@cache
def read_built_in(name: str) -> Listing:
    """The built-in sounds of that name, the same ones each time."""
    draw = np.random.default_rng(1952)
    sounds, titles = [], []
    labels: dict[str, list[object]] = {"vowel": [], "voice": [], "pitch": []}
    for index in range(_EACH):
        for vowel, voice in _FORMANTS:
            wave, pitch = _sing(draw, vowel, voice)
            sounds.append(Sound(wave.astype(np.float32)[:, None], RATE))
            titles.append(f"{vowel}_{voice}_{index + 1}")
            for label, value in zip(labels, (vowel, voice, pitch), strict=True):
                labels[label].append(value)
    lot = Lot(name, sounds, len(sounds), titles, "{name}, {title}", dict(labels))
    return Listing(AUDIO, name, (lot,))


def _sing(draw: np.random.Generator, vowel: str, voice: str) -> tuple[np.ndarray, float]:
    """A vowel of 0.5 to 0.8 s, and its pitch in Hz."""
    count = round(100 * draw.uniform(0.5, 0.8)) * RATE // 100
    pitch = round(draw.uniform(*_PITCHES[voice]), 1)
    source = _glottis(draw, pitch, count * _FINER)
    spectrum = np.fft.rfft(source)[: count // 2 + 1]  # the frequencies that the rate can hold
    formants = np.array(_FORMANTS[vowel, voice]) * draw.normal(1, 0.03, 4).clip(0.92, 1.08)
    hertz = np.fft.rfftfreq(count, 1 / RATE)
    wave = np.fft.irfft(spectrum * _throat(hertz, formants), count)
    wave *= _envelope(draw, count)
    return 0.5 * wave / np.abs(wave).max() + draw.normal(0, 5e-4, count), pitch


def _glottis(draw: np.random.Generator, pitch: float, count: int) -> np.ndarray:
    """The derivative of the flow through the vocal folds: Rosenberg's pulse (1971) and noise."""
    time = np.linspace(0, 1, count)
    glide = 1 + draw.uniform(-0.08, 0.08) * (time - 0.5)
    glide += draw.uniform(0, 0.02) * np.sin(2 * np.pi * (3 * time + draw.uniform()))
    jitter = np.interp(time, np.linspace(0, 1, 64), draw.normal(0, 0.006, 64))
    phase = np.cumsum(pitch * (glide + jitter)) / (RATE * _FINER) % 1
    rise, fall = 0.4, 0.16
    opening = 6 * phase / rise**2 * (1 - phase / rise)
    closing = -2 * (phase - rise) / fall**2
    pulse = np.where(phase < rise, opening, np.where(phase < rise + fall, closing, 0.0))
    return pulse + draw.normal(0, 0.1, count)


def _throat(hertz: np.ndarray, formants: np.ndarray) -> np.ndarray:
    """The frequency response of folds that close softly and resonators in series: (F,)."""
    response = 1 / (1 + 1j * hertz / _SOFT)
    for centre, width in zip(formants, _BANDWIDTHS, strict=True):
        response /= 1 - (hertz / centre) ** 2 + 1j * hertz * width / centre**2
    return response


def _envelope(draw: np.random.Generator, count: int) -> np.ndarray:
    """The loudness over time, with attack and decay: (T,)."""
    time = np.arange(count) / RATE
    attack, decay = draw.uniform(0.02, 0.06), draw.uniform(0.05, 0.15)
    ends = np.minimum(time / attack, 1) * np.minimum((time[-1] - time) / decay, 1)
    return np.sin(np.pi / 2 * ends) ** 2 * (1 - draw.uniform(0, 0.5) * time / time[-1])
