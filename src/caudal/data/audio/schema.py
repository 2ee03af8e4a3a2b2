"""What the clips of a data set are, how a flow takes them, and what the user's options mean."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from caudal.data.audio.convention import CAUDAL, Convention
from caudal.data.refusals import check_once
from caudal.data.schema import BITS_PER_SAMPLE, Column, Schema, Unit
from caudal.errors import InputError, NumericalError

MEL, NONE = "mel", "none"
RESERVED = (MEL, NONE)
"""Words in the context that are no names of labels."""
PREDICTION = 64
"""Samples that a linear prediction looks back, unless told otherwise."""
_WINDOW = 0.046  # seconds
_FEWEST = 16  # samples of a window
_SLOWEST = 1000  # Hz: a lower number was meant in kHz


@dataclass(frozen=True)
class AudioSchema(Schema):
    """Clips of one channel and any length, whose samples are whole numbers of `bits` bits.

    A flow's data are those numbers, -2^(bits-1) .. 2^(bits-1) - 1, as floats (B, 1, T). Its
    context, if any, is in frames, (B, C + mels, F): the codes of the labels, repeated in each
    frame, and the log-mel spectrum. Frame f stands for the samples f hop to (f + 1) hop - 1, and F
    is T / hop rounded up; without a spectrum there is one frame.

    Attributes:
        rate: samples a second.
        crop: samples of a training row, a multiple of `hop`.
        hop: samples a frame.
        mels: bands of the log-mel spectrum on which a flow is conditioned, 0 for none.
        window: samples of its window.
        trim: whether silence at both ends is cut off.
        normalize: whether each clip is scaled to the same peak.
        bits: of a sample.
        context: the labels on which a flow is conditioned.
        prediction: of how many samples before it a linear prediction makes each sample, by the
            spectrum, before the flow learns what is left; 0 for none. Without a spectrum there is
            none.
        convention: how the numbers of the spectrum are made.
        update: whether the spectra of frames that have begun update that prediction.
    """

    kind: ClassVar[str] = "audio"
    one: ClassVar[str] = "clip"
    many: ClassVar[str] = "clips"
    unit: ClassVar[Unit] = BITS_PER_SAMPLE

    rate: int
    crop: int
    hop: int
    mels: int = 64
    window: int = 1024
    trim: bool = True
    normalize: bool = True
    bits: int = 16
    context: tuple[Column, ...] = ()
    prediction: int = PREDICTION
    convention: Convention = CAUDAL
    update: bool = False

    def __post_init__(self) -> None:
        for name in ("rate", "crop", "hop", "window"):
            if getattr(self, name) < 1:
                raise InputError(f"`{name}` {getattr(self, name)}: must be at least 1")
        if not 2 <= self.bits <= 32:
            raise InputError(f"`bits` {self.bits}: must be from 2 to 32")
        for name in ("mels", "prediction"):
            if getattr(self, name) < 0:
                raise InputError(f"`{name}` {getattr(self, name)}: must be at least 0")
        if self.update and not self.order:
            raise InputError(
                "`update`: there is no prediction to update: give `prediction` a positive number, "
                "mel in `context`, and a `window` of at least twice `hop`"
            )
        if self.crop % self.hop:
            raise InputError(f"crops of {self.crop} samples are no multiple of `hop` {self.hop}")

    @property
    def levels(self) -> int:
        """How many values a sample can have."""
        return 1 << self.bits

    @property
    def full_scale(self) -> int:
        """What an amplitude of 1 is in whole numbers."""
        return self.levels // 2

    @property
    def countable(self) -> int:
        """Samples of a training row, by which bits a sample divides."""
        return self.crop

    @property
    def n_context(self) -> int:
        """Channels of the context, 0 for none."""
        return len(self.context) + self.mels

    @property
    def order(self) -> int:
        """The order of the linear prediction, at most half a window; 0 for none."""
        return min(self.prediction, self.window // 2) if self.tells_loudness else 0

    @property
    def tells_loudness(self) -> bool:
        """Whether there is a spectrum that says how loud each sample is.

        Its windows have to overlap by half or more.
        """
        return self.mels > 0 and 2 * self.hop <= self.window

    @property
    def size(self) -> str:
        """The rate and the bits in words, such as `8 kHz, 16 bits`."""
        return f"{self.rate / 1000:g} kHz, {self.bits} bits"

    @property
    def what(self) -> str:
        return f"{self.size} audio"

    def frames(self, samples: int) -> int:
        """How many frames of context a clip of so many samples has."""
        return -(-samples // self.hop) if self.mels else 1

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "AudioSchema":
        made = data.get("convention", {})  # older files have none, and no prediction
        convention = made if isinstance(made, Convention) else Convention(**made)
        return super().from_dict({"prediction": 0, **data, "convention": convention})

    def encode(self, wave: np.ndarray, /) -> np.ndarray:
        """Amplitudes in [-1, 1] as whole numbers, int16; those beyond are clipped."""
        whole = np.round(np.asarray(wave, np.float64) * self.full_scale)
        return whole.clip(-self.full_scale, self.full_scale - 1).astype(np.int16)

    def decode(self, x: Tensor, /) -> np.ndarray:
        """A flow's samples (N, 1, T) as whole numbers, int16 (N, T).

        Raises:
            NumericalError: a value is not finite.
        """
        if not torch.isfinite(x).all():
            raise NumericalError("a sampled amplitude is not finite")
        whole = x.detach().cpu().double().round().clamp(-self.full_scale, self.full_scale - 1)
        return whole.to(torch.int16).squeeze(1).numpy()


def read_context(context: Sequence[str], mels: int) -> tuple[tuple[str, ...], int]:
    """The labels to condition on, and how many bands.

    Raises:
        InputError: a name is there twice, "none" is not alone, or the spectrum has no bands.
    """
    check_once("context", context)
    if NONE in context and len(context) > 1:
        raise InputError(f"`context` {' '.join(context)}: 'none' goes alone")
    if MEL in context and mels < 1:
        raise InputError(f"`mels` {mels}: 'mel' in `context` needs at least 1 band")
    return tuple(c for c in context if c not in (MEL, NONE)), mels if MEL in context else 0


def crop_of(seconds: float, rate: int, hop: int) -> int:
    """Samples of a training row, which has whole frames and at least one.

    Raises:
        InputError: names the option.
    """
    if not (math.isfinite(seconds) and seconds > 0):
        raise InputError(f"`seconds` {seconds:g}: must be above 0")
    if hop < 1:
        raise InputError(f"`hop` {hop}: must be at least 1")
    if hop > seconds * rate:
        raise InputError(
            f"`hop` {hop}: crops of {seconds:g} s have {seconds * rate:.0f} samples at {rate} Hz: "
            f"give a smaller `hop`, or more `seconds`"
        )
    return round(seconds * rate / hop) * hop


def window_of(rate: int) -> int:
    """The power of two nearest to 46 ms."""
    return int(2 ** round(math.log2(_WINDOW * rate)))


def check_window(window: int, bands: int, rate: int) -> None:
    """Refuses a window that gives no spectrum, and more bands than it has frequencies."""
    if bands and not _FEWEST <= window <= rate:
        raise InputError(f"`window` {window}: give {_FEWEST} to {rate} samples, a second at most")
    if bands > window // 2 + 1:
        raise InputError(
            f"`mels` {bands}: a window of {window} samples tells {window // 2 + 1} frequencies "
            f"apart: give fewer bands, or a longer `window`"
        )


def check_rate(rate: int | None) -> None:
    """Refuses a rate that no audio has."""
    if rate is not None and rate < _SLOWEST:
        raise InputError(f"`rate` {rate}: give samples a second, such as 16000")
