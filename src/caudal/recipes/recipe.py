"""What a recipe is: a paper's hyperparameters, and how to build its flow from them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor

from caudal.bijection import Bijection
from caudal.bijections import Coupling, Pointwise
from caudal.elementwise import Elementwise
from caudal.flow import Flow
from caudal.nets import MLP, ResidualMLP
from caudal.recipes.checks import check_fields

Shape = tuple[int, int, int]
"""Channels, height and width of an image."""


@dataclass(frozen=True)
class Recipe(ABC):
    """Frozen hyperparameters with the paper's values as defaults.

    Raises:
        InputError: a field holds what no flow can be built from.
    """

    name: ClassVar[str]
    """On the command line, and in files."""
    paper: ClassVar[str]
    year: ClassVar[int]
    good_for: ClassVar[str]
    scores: ClassVar[str]
    """How `log_prob` runs: "parallel" (one pass) or "sequential" (one position at a time)."""
    samples: ClassVar[str]
    """How `sample` runs: as `log_prob` does, or "iterated" (passes until nothing changes)."""
    images: ClassVar[bool] = False
    """Whether it knows what images (C, H, W) are; other recipes take them as vectors."""
    vectors: ClassVar[bool] = True
    """Whether it models vectors (D,)."""
    audio: ClassVar[bool] = False
    """Whether it models sound (1, T), and nothing else."""
    pixels: ClassVar[str] = "logit"
    """What it makes of pixels unless told otherwise: see `ImageSchema.pixels`."""

    def __post_init__(self) -> None:
        check_fields(self)

    @abstractmethod
    def build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> Flow:
        """A new flow over events of this shape, given context rows of shape (C,) if any.

        Raises:
            ValueError: the recipe cannot model events or context of that shape.
        """

    def _sizes(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None
    ) -> tuple[int, int]:
        """The D of event shape (D,) and the C of context shape (C,), 0 for none."""
        if isinstance(event_shape, int) or len(event_shape) != 1 or event_shape[0] < 1:
            kinds = "vectors (D,) or images (C, H, W)" if self.images else "vectors (D,)"
            raise ValueError(f"{self.name} models {kinds}, got event shape {event_shape}")
        return event_shape[0], self._context_size(context_shape)

    def _image_sizes(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None
    ) -> tuple[Shape, int]:
        """The event shape (C, H, W), and the size of the context, 0 for none."""
        if isinstance(event_shape, int) or len(event_shape) != 3 or min(event_shape) < 1:
            raise ValueError(f"{self.name} models images (C, H, W), got event shape {event_shape}")
        channels, height, width = event_shape
        return (channels, height, width), self._context_size(context_shape)

    def _refuse_given(self, names: Sequence[str], whose: str) -> None:
        """Refuses fields that would change nothing, unless they are as they are by default."""
        for field in fields(self):
            if field.name in names and getattr(self, field.name) != field.default:
                flag = field.name.replace("_", "-")
                raise ValueError(f"--{flag} is for {whose}: leave it out")

    def _context_size(self, shape: Sequence[int] | None) -> int:
        if shape is None:
            return 0
        if isinstance(shape, int) or len(shape) != 1 or shape[0] < 1:
            raise ValueError(f"{self.name} takes context vectors (C,), got shape {shape}")
        return shape[0]


def parity(features: int, layer: int) -> Tensor:
    """NICE's alternating masks: even columns are kept in even layers, odd ones in odd layers.

    A single column is never kept: it moves by itself, or with the context.
    """
    keep = torch.arange(features) % 2 == layer % 2
    return keep if features > 1 else torch.zeros_like(keep)


def mlp_coupling(
    elementwise: Elementwise,
    keep: Tensor,
    context: int,
    hidden: Sequence[int],
    activation: str,
) -> Bijection:
    """A coupling of vectors steered by an MLP."""
    kept, moved = int(keep.sum()), int((~keep).sum())
    if kept + context == 0:
        return Pointwise(elementwise, (moved,))  # nothing to see: free parameters
    net = MLP(kept, moved, elementwise.n_params, hidden, context, activation)
    return Coupling(net, elementwise, keep)


def residual_coupling(
    elementwise: Elementwise,
    keep: Tensor,
    context: int,
    hidden: int,
    blocks: int,
    dropout: float,
) -> Bijection:
    """A coupling of vectors steered by a residual MLP."""
    kept, moved = int(keep.sum()), int((~keep).sum())
    if kept + context == 0:
        return Pointwise(elementwise, (moved,))
    net = ResidualMLP(kept, moved, elementwise.n_params, hidden, blocks, context, dropout=dropout)
    return Coupling(net, elementwise, keep)
