"""Samples made consistent with the spectra that they were given."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from caudal.data.audio.refinement import refined
from caudal.errors import InputError
from caudal.modality import Request

Draw = Callable[[Request, torch.Generator], Tensor]


@dataclass(frozen=True)
class Refinement:
    """What there is to know of samples that were refined."""

    key: ClassVar[str] = "refine"

    steps: int

    def tell(self, screen: Any) -> None:
        """Says that these are no samples of the density."""
        steps = f"{self.steps} step{'s' * (self.steps != 1)}"
        screen.note(f"after {steps} of refinement, these are not samples of the density")

    def to_dict(self) -> int:
        """For JSON: how many steps."""
        return self.steps


class Refining:
    """Draws, and refines each sample by the spectrum in its context.

    Raises:
        InputError: the model is given no spectrum that could be met.
    """

    def __init__(self, model: Any, draw: Draw, steps: int) -> None:
        if not model.schema.tells_loudness:
            raise InputError(
                f"`refine`: {model.name} is given no spectrum whose windows overlap by half, so "
                f"there is nothing that its samples could be made consistent with"
            )
        self.schema, self.draw, self.steps = model.schema, draw, steps

    def __call__(self, request: Request, generator: torch.Generator) -> Tensor:
        x = self.draw(request, generator) / self.schema.full_scale  # (B, 1, T)
        assert request.context is not None
        log_mel = request.context[:, -self.schema.mels :]
        return refined(x[:, 0], log_mel, self.schema, self.steps)[:, None] * self.schema.full_scale

    def summary(self) -> Refinement:
        return Refinement(self.steps)
