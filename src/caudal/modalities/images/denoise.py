"""Samples of images from which the noise of training is taken off again."""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from caudal.denoising import denoised
from caudal.errors import InputError
from caudal.modality import Request
from caudal.training.together import by_rows


@dataclass(frozen=True)
class Denoising:
    """What there is to know of samples whose noise was taken off.

    Attributes:
        std: of the noise, in steps of a pixel's value.
    """

    key: ClassVar[str] = "denoise"

    std: float

    def tell(self, screen: Any) -> None:
        """Says that these are no samples of the density."""
        screen.note(f"without the noise of {self.std:g} steps these are no samples of the density")

    def to_dict(self) -> float:
        """For JSON: the noise that was taken off."""
        return self.std


class Denoised:
    """Draws noisy images and takes one step along the slope of their log-density.

    Raises:
        InputError: the run has learned images without such noise.
    """

    def __init__(self, model: Any, temperature: float) -> None:
        if not model.schema.pixel_noise:
            raise InputError(
                f"`denoise` is for runs of `pixel_noise`, and {model.name} has learned images "
                f"without: leave it out"
            )
        self.model, self.temperature = model, temperature

    def __call__(self, request: Request, generator: torch.Generator) -> Tensor:
        flow = self.model.flow
        lifted, like = flow.continuous(), flow.base.like
        context = None if request.context is None else request.context.to(like)

        def of(rows: slice, n: int) -> Tensor:
            given = None if context is None else context[rows]
            y = lifted.sample(n, given, self.temperature, generator)
            return denoised(lifted, y, self.model.schema.pixel_noise, given)

        lowered: Tensor = flow.dequantization.lower(by_rows(request.n, of))
        return lowered.contiguous()

    def summary(self) -> Denoising:
        return Denoising(self.model.schema.pixel_noise)
