"""Conventions of mel spectra: which bands, of what, on which scale, and where their frames lie."""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import numpy as np

from caudal.errors import InputError

Scale = Literal["slaney", "htk"]
Log = Literal["e", "10", "db"]


@dataclass(frozen=True)
class Convention:
    """How the numbers of a mel spectrum follow from a sound.

    With Hann windows w and the weights b of a band,
    value = c log max(floor, sum_k b_k |FFT(w x)_k|^power), where c is 1 for natural logarithms,
    1 / ln 10 for those to the base 10, and 20 / (power ln 10) for decibels.

    Attributes:
        low: where the first band begins, in Hz.
        high: where the last band ends, in Hz; half the rate if None, and at most that.
        scale: on which the bands are evenly spaced, Slaney's or HTK's.
        norm: whether each band has unit area in Hz, or a peak of 1.
        power: of magnitudes: 1, or 2 for power.
        log: "e", "10", or "db".
        floor: the least value before the logarithm.
        centre: whether the window of frame f has its middle at that of the samples f hop to
            (f + 1) hop - 1, or at their start.
        edges: whether beyond a clip are zeros, or the clip reflected.
        widened: whether a band narrower than a bin is widened to one bin; else it may be empty.
    """

    low: float = 0.0
    high: float | None = None
    scale: Scale = "slaney"
    norm: Literal["area", "peak"] = "area"
    power: int = 1
    log: Log = "e"
    floor: float = 1e-5
    centre: Literal["middle", "start"] = "middle"
    edges: Literal["zeros", "reflect"] = "zeros"
    widened: bool = True

    def __post_init__(self) -> None:
        for name, known in (("scale", get_args(Scale)), ("log", get_args(Log))):
            if getattr(self, name) not in known:
                chosen = ", ".join(known)
                raise InputError(f"`mel_{name}` {getattr(self, name)}: choose one of {chosen}")
        if not (math.isfinite(self.floor) and self.floor > 0):
            raise InputError(f"`mel_floor` {self.floor:g}: must be above 0")
        if not 0 <= self.low < (math.inf if self.high is None else self.high):
            high = "half the rate" if self.high is None else f"{self.high:g}"
            raise InputError(
                f"`mel_low` {self.low:g}: must be at least 0, and below `mel_high`, {high}"
            )

    def ends(self, rate: int) -> tuple[float, float]:
        """Where the first band begins and the last one ends at a rate, in Hz.

        Raises:
            InputError: there is nothing between them.
        """
        high = min(rate / 2, math.inf if self.high is None else self.high)
        if self.low >= high:
            raise InputError(f"`mel_low` {self.low:g}: at {rate} Hz, bands end at {high:g} Hz")
        return self.low, high

    def middle(self, hop: int) -> int:
        """The sample at which the window of the first frame has its middle."""
        return hop // 2 if self.centre == "middle" else 0

    @property
    def unit(self) -> float:
        """What a natural logarithm is multiplied by."""
        decibels = 20 / self.power / math.log(10)
        return {"e": 1.0, "10": 1 / math.log(10), "db": decibels}[self.log]

    @property
    def words(self) -> str:
        """What the numbers are, such as `natural logarithms of magnitudes`."""
        logarithm = {
            "e": "natural logarithms",
            "10": "logarithms to the base 10",
            "db": "decibels",
        }
        return f"{logarithm[self.log]} of {'magnitudes' if self.power == 1 else 'powers'}"


CAUDAL = Convention()
CONVENTIONS = {
    "caudal": CAUDAL,
    "torchaudio": Convention(
        scale="htk",
        norm="peak",
        power=2,
        log="db",
        floor=1e-10,
        centre="start",
        edges="reflect",
        widened=False,
    ),
    "hifigan": Convention(high=8000.0, edges="reflect", widened=False),
    "tacotron2": Convention(high=8000.0, centre="start", edges="reflect", widened=False),
}
"""By name: torchaudio's `MelSpectrogram` and `AmplitudeToDB` as they are without arguments, and
the spectra of the published HiFi-GAN and of NVIDIA's Tacotron 2."""
Name = Literal["caudal", "torchaudio", "hifigan", "tacotron2"]


def convention_of(name: str, **own: Any) -> Convention:
    """The convention of that name with its own values in place of some; those of None stay.

    Raises:
        InputError: there is none of that name, or a value is out of its range.
    """
    if name not in CONVENTIONS:
        raise InputError(f"`mel_convention` {name}: choose one of {', '.join(CONVENTIONS)}")
    chosen = {field: value for field, value in own.items() if value is not None}
    return replace(CONVENTIONS[name], **chosen)


def reflected(positions: np.ndarray, length: int) -> np.ndarray:
    """Positions (N,) before or beyond a clip of `length` samples, mirrored at its ends."""
    period = max(1, 2 * (length - 1))
    inside = positions % period
    return np.minimum(inside, period - inside).clip(0, length - 1)
