"""The data that come with caudal: digits, clouds of points, angles, and sung vowels."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa

from caudal.data.refusals import SOUNDS, TABLES
from caudal.errors import InputError

ROWS = 1 << 16
Generator = np.random.Generator
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


@dataclass(frozen=True)
class BuiltIn:
    """A table, the types of its columns, and those to model unless others are named."""

    table: pa.Table
    types: tuple[str, ...]
    columns: tuple[str, ...]


@cache
def built_in(name: str) -> BuiltIn:
    """The built-in table of that name, one of `TABLES`, with the same rows each time.

    Raises:
        InputError: the name is that of sounds.
    """
    if name in SOUNDS:
        raise InputError(f"{name} are sounds, and no table: there are {' '.join(TABLES)}")
    return {"digits": _digits, "torus": _torus}.get(name, lambda: _shape(name))()


def _digits() -> BuiltIn:
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = tuple(f"p{row}{column}" for row in range(8) for column in range(8))
    arrays = [*data.data.astype(np.uint8).T, data.target.astype(np.uint8)]
    table = pa.table([pa.array(np.ascontiguousarray(a)) for a in arrays], [*pixels, "digit"])
    types = tuple(f"{pixel}=integer[0,16]" for pixel in pixels)
    return BuiltIn(table, (*types, "digit=categorical"), pixels)


def _torus() -> BuiltIn:
    """Pairs of angles like those of a protein's backbone, some of them across the seam."""
    rng = np.random.default_rng(0)
    which = rng.choice(4, size=ROWS, p=[0.45, 0.3, 0.17, 0.08])
    means = np.array([[-1.1, -0.7], [-1.5, 2.8], [3.0, 3.1], [1.0, 0.6]])[which]
    sharpness = np.array([[14.0, 10.0], [6.0, 8.0], [5.0, 3.0], [20.0, 16.0]])[which]
    angles = rng.vonmises(means, sharpness)
    angles[:, 1] += 0.8 * np.sin(2 * angles[:, 0])  # the second turns with the first
    angles[:, 1] = np.mod(angles[:, 1] + np.pi, 2 * np.pi) - np.pi
    table = pa.table([pa.array(np.ascontiguousarray(a)) for a in angles.T], ["phi", "psi"])
    return BuiltIn(table, ("phi=circular[-pi,pi]", "psi=circular[-pi,pi]"), ("phi", "psi"))


def _shape(name: str) -> BuiltIn:
    points = SHAPES[name](np.random.default_rng(0), ROWS).astype(np.float32)
    table = pa.table([pa.array(np.ascontiguousarray(c)) for c in points.T], ["x", "y"])
    return BuiltIn(table, ("x=real", "y=real"), ("x", "y"))


# --- shapes: each draws a cloud (n, 2), without a loop ---------------------------------------


def moons(rng: Generator, n: int) -> np.ndarray:
    """Two interleaved half circles."""
    lower = rng.integers(2, size=n)
    angle = np.pi * rng.random(n)
    sign = 1 - 2 * lower
    points = np.stack([sign * np.cos(angle) + lower, sign * np.sin(angle) + lower / 2], 1)
    return points + 0.08 * rng.standard_normal((n, 2))


def rings(rng: Generator, n: int) -> np.ndarray:
    """Four circles around one centre, each with its share of the points by length."""
    radius = rng.choice([1.0, 2.0, 3.0, 4.0], size=n, p=[0.1, 0.2, 0.3, 0.4])
    return radius[:, None] * _circle(rng.random(n)) + 0.1 * rng.standard_normal((n, 2))


def checkerboard(rng: Generator, n: int) -> np.ndarray:
    """The dark squares of a 4 by 4 board on [-4, 4]^2; the density is 1/32 on them."""
    column, half = rng.integers(4, size=n), rng.integers(2, size=n)
    row = 2 * half + column % 2
    return 2 * (np.stack([column, row], 1) + rng.random((n, 2))) - 4


def spirals(rng: Generator, n: int) -> np.ndarray:
    """Two arms that wind around each other."""
    turns = 1.5 * np.sqrt(rng.random(n))
    arm = 1 - 2 * rng.integers(2, size=(n, 1))
    return arm * 2 * turns[:, None] * _circle(turns) + 0.1 * rng.standard_normal((n, 2))


def eight_gaussians(rng: Generator, n: int) -> np.ndarray:
    """Eight round blobs on a circle."""
    return 4 * _circle(rng.integers(8, size=n) / 8) + 0.35 * rng.standard_normal((n, 2))


def pinwheel(rng: Generator, n: int) -> np.ndarray:
    """Five blobs, drawn out and bent by a rotation that grows with the radius."""
    radius = 2 + 0.6 * rng.standard_normal(n)
    across = 0.2 * rng.standard_normal(n)
    angle = rng.integers(5, size=n) / 5 + 0.25 * np.exp(radius - 2) / (2 * np.pi)
    along = _circle(angle)
    return radius[:, None] * along + across[:, None] * along[:, ::-1] * [-1, 1]


SHAPES: dict[str, Callable[[Generator, int], np.ndarray]] = {
    "moons": moons,
    "rings": rings,
    "checkerboard": checkerboard,
    "spirals": spirals,
    "eight-gaussians": eight_gaussians,
    "pinwheel": pinwheel,
}


def _circle(turns: np.ndarray) -> np.ndarray:
    angle = 2 * np.pi * turns
    return np.stack([np.cos(angle), np.sin(angle)], 1)


@cache
def vowels() -> tuple[list[np.ndarray], list[str], dict[str, list[Any]]]:
    """Clips of sung vowels, float32 (T,) at `RATE`, with their titles and labels.

    They are the same ones each time.
    """
    draw = np.random.default_rng(1952)
    waves: list[np.ndarray] = []
    titles: list[str] = []
    labels: dict[str, list[Any]] = {"vowel": [], "voice": [], "pitch": []}
    for number in range(1, _EACH + 1):
        for vowel, voice in _FORMANTS:
            wave, pitch = _sing(draw, vowel, voice)
            waves.append(wave.astype(np.float32))
            titles.append(f"{vowel}_{voice}_{number}")
            for label, value in zip(labels, (vowel, voice, pitch), strict=True):
                labels[label].append(value)
    return waves, titles, labels


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
