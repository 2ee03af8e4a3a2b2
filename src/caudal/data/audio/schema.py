"""What the clips of a data set are, and how a flow takes them."""

from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from caudal.data.column import Column
from caudal.data.schema import Schema
from caudal.data.unit import BITS_PER_SAMPLE, Unit
from caudal.errors import InputError, NumericalError


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

    def __post_init__(self) -> None:
        for name in ("rate", "crop", "hop", "window"):
            if getattr(self, name) < 1:
                raise InputError(f"`{name}` {getattr(self, name)}: must be at least 1")
        if self.mels < 0:
            raise InputError(f"`mels` {self.mels}: must be at least 0")
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
    def size(self) -> str:
        """The rate and the bits in words, such as `8 kHz, 16 bits`."""
        return f"{self.rate / 1000:g} kHz, {self.bits} bits"

    @property
    def what(self) -> str:
        return f"{self.size} audio"

    def frames(self, samples: int) -> int:
        """How many frames of context a clip of so many samples has."""
        return -(-samples // self.hop) if self.mels else 1

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

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "AudioSchema":
        fields = {name: value for name, value in data.items() if name != "kind"}
        fields["context"] = tuple(Column.from_dict(column) for column in fields["context"])
        return cls(**fields)
