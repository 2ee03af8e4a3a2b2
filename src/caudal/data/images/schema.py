"""What the images of a data set are, and how a flow takes them."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from annotated_types import Ge, Lt
from torch import Tensor

from caudal.data.schema import BITS_PER_DIM, Column, Schema, Unit
from caudal.errors import InputError, NumericalError
from caudal.fields import check_value

PIXELS = ("unit", "centred", "logit", "white")
LOGITS = ("logit", "white")
"""Those that begin with a logit, and so have an `alpha`."""
DEQUANTIZATIONS = ("uniform", "variational")
ALPHA = 0.05
"""Real-NVP's alpha of the logit, for a schema that was not made from images."""
Shape = tuple[int, int, int]
"""Channels, height, width."""


@dataclass(frozen=True)
class ImageSchema(Schema):
    """Images of one shape, whose pixels are whole numbers 0 .. 2^bits - 1.

    Attributes:
        shape: channels, height, width.
        bits: of each pixel; the highest `bits` of 8-bit files are kept.
        pixels: what a flow makes of values v in [0, 2^bits], x = v / 2^bits:
            unit = x, centred = x - 1/2, logit = logit(alpha + (1 - 2 alpha) x),
            white = logits whose covariance over the training images is taken off;
            None leaves the choice to the recipe, which then whitens nothing.
        alpha: of the logit.
        dequantization: noise that fills the steps between values: uniform, or variational.
        pixel_noise: standard deviation of the Gaussian noise that images have while a flow learns
            them, in steps between values.
        context: the labels of an image on which the flow is conditioned, such as its class.
        drop_context: share of the images whose labels are withheld while a flow learns them.
    """

    kind: ClassVar[str] = "images"
    one: ClassVar[str] = "image"
    many: ClassVar[str] = "images"
    unit: ClassVar[Unit] = BITS_PER_DIM

    shape: Shape
    bits: int = 8
    pixels: str | None = "unit"
    alpha: float = ALPHA
    dequantization: str = "uniform"
    context: tuple[Column, ...] = ()
    pixel_noise: float = 0.0
    drop_context: float = 0.0

    def __post_init__(self) -> None:
        channels, height, width = self.shape
        if channels < 1 or height < 1 or width < 1:
            raise InputError(f"images of shape {self.shape}: give channels, height and width")
        if not 1 <= self.bits <= 8:
            raise InputError(f"`bits` {self.bits}: must be from 1 to 8")
        if self.pixels is not None and self.pixels not in PIXELS:
            raise InputError(f"`pixels` {self.pixels}: choose one of {', '.join(PIXELS)}")
        if not 0 < self.alpha < 0.5:
            raise InputError(f"`alpha` {self.alpha}: must lie between 0 and 0.5")
        if self.dequantization not in DEQUANTIZATIONS:
            known = ", ".join(DEQUANTIZATIONS)
            raise InputError(f"`dequantization` {self.dequantization}: choose one of {known}")
        if self.pixel_noise:
            self._check_noise()
        if self.drop_context:
            self._check_drop()

    def _check_noise(self) -> None:
        """Refuses Gaussian noise beside what it does not go with."""
        if not self.pixel_noise > 0:
            raise InputError(f"`pixel_noise` {self.pixel_noise}: must be a positive number, or 0")
        if self.pixels in LOGITS:
            raise InputError(
                "`pixel_noise` takes pixels beyond black and white, where no logit goes: give "
                "`pixels` centred or unit"
            )
        if self.dequantization != "uniform":
            raise InputError("`pixel_noise` goes with `dequantization` uniform alone")

    def _check_drop(self) -> None:
        """Refuses to withhold labels that are not there, or are numbers."""
        check_value("drop_context", self.drop_context, Annotated[float, Ge(0), Lt(1)])
        if not self.context:
            raise InputError(
                "`drop_context` withholds the labels of images, and there are none: give "
                "`context`, such as class, or leave it out"
            )
        for column in self.context:
            if column.categories is None:
                raise InputError(
                    f"`drop_context` withholds categories, and '{column.name}' is a number: leave "
                    f"one of them out"
                )

    @property
    def levels(self) -> int:
        """How many values a pixel can have."""
        return 1 << self.bits

    @property
    def countable(self) -> int:
        """Elements of an image, by which bits/dim divides."""
        channels, height, width = self.shape
        return channels * height * width

    @property
    def size(self) -> str:
        """The shape in words, such as `28x28 gray` or `32x32 RGB`: height x width."""
        return words(self.shape)

    @property
    def what(self) -> str:
        return f"{self.size} images"

    def encode(self, images: np.ndarray, /) -> Tensor:
        """8-bit images (N, H, W, C) as a flow's data: uint8 (N, C, H, W), values 0 .. 2^bits - 1.

        Shares the memory of `images` where they are of 8 bits.

        Raises:
            InputError: they have another shape.
        """
        channels, height, width = self.shape
        if images.shape[1:] != (height, width, channels):
            shape = "x".join(str(n) for n in images.shape[1:])
            raise InputError(f"images are {shape}, the flow's are {height}x{width}x{channels}")
        if min(images.strides) < 0:  # a view turned round, of which torch knows nothing
            images = images.copy()
        values = torch.from_numpy(images).permute(0, 3, 1, 2)
        return values if self.bits == 8 else values >> (8 - self.bits)

    def decode(self, x: Tensor, /) -> np.ndarray:
        """A flow's samples (N, C, H, W) as 8-bit images (N, H, W, C).

        With fewer bits, 0 stays black and the highest value becomes white.

        Raises:
            NumericalError: a value is not finite.
        """
        if not torch.isfinite(x).all():
            raise NumericalError("a sampled pixel is not finite")
        values = x.detach().cpu().double().clamp(0, self.levels - 1)
        full = (values * (255 / (self.levels - 1))).round().to(torch.uint8)
        return full.permute(0, 2, 3, 1).contiguous().numpy()

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "ImageSchema":
        return super().from_dict({**data, "shape": tuple(data["shape"])})


def words(shape: Shape) -> str:
    """A shape in words, such as `28x28 gray` or `32x32 RGB`: height x width."""
    channels, height, width = shape
    names = {1: "gray", 3: "RGB"}
    return f"{height}x{width} {names.get(channels, f'{channels} channels')}"
