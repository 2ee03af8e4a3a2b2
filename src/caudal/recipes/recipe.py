"""What a recipe is: a paper's hyperparameters, and how to build its flow from them.

Recipes are light, so that listing them and their options is quick: `build` imports torch and the
layers. For this a recipe says `import caudal`, which imports nothing until a name is used.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from annotated_types import Ge, MinLen

import caudal
from caudal.errors import InputError
from caudal.fields import check_fields

if TYPE_CHECKING:
    from torch import Tensor

    from caudal.recipes.circles import Circles

Shape = tuple[int, int, int]
"""Channels, height and width of an image."""
Widths = Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)]
"""A width for each layer."""
SplineMap = Literal["spline", "sinh"]
"""What bends the numbers in a recipe of splines."""
Activation = Literal["relu", "tanh", "elu", "silu", "gelu"]
"""The names in `caudal.nets.activation.ACTIVATIONS`."""


@dataclass(frozen=True)
class Recipe(ABC):
    """Frozen hyperparameters with the paper's values as defaults.

    Each field has a default, a docstring, which is the help of its flag, and the limits of its
    values in its annotation: `layers: Annotated[int, Ge(1)] = 10`.

    Raises:
        InputError: a field has a value from which no flow can be built.
    """

    name: ClassVar[str]
    """Its name on the command line and in files."""
    paper: ClassVar[str] = ""
    """Authors and identifier of the paper."""
    year: ClassVar[int | None] = None
    """The year of the paper."""
    good_for: ClassVar[str] = ""
    """What to use it for, in a few words."""
    scores: ClassVar[str]
    """How `log_prob` runs: "parallel" (one pass) or "sequential" (one position at a time)."""
    samples: ClassVar[str]
    """How `sample` runs: like `log_prob`, or "iterated" (passes until nothing changes)."""
    images: ClassVar[bool] = False
    """Whether it models images (C, H, W); other recipes take them as vectors."""
    vectors: ClassVar[bool] = True
    """Whether it models vectors (D,)."""
    audio: ClassVar[bool] = False
    """Whether it models sound (1, T), and nothing else."""
    element: ClassVar[str] = "column"
    """What one position of an event is called where people read of it."""
    circular: ClassVar[bool] = False
    """Whether it is for columns that are circles, and takes data without any for a mistake."""
    listed: ClassVar[bool] = True
    """Whether it is offered to choose from; files may name it anyway."""
    pixels: ClassVar[str] = "logit"
    """The default transformation of pixels: see `ImageSchema.pixels`. White ones let a flow begin
    at the best Gaussian, which those that do not mix neighbouring pixels take long to find."""
    ink: ClassVar[str | None] = None
    """What takes its place where most pixels are black or white, if anything does."""

    def __post_init__(self) -> None:
        check_fields(self)

    def build(
        self,
        event_shape: Sequence[int],
        context_shape: Sequence[int] | None = None,
        *,
        standardise: bool = True,
    ) -> caudal.Flow:
        """A new flow over events of this shape, given context vectors of shape (C,) if any.

        Events and context may have any location and scale: `caudal.initialize`, and so
        `caudal.fit`, measures both, and the flow standardises them as part of its density.

        Args:
            event_shape: the shape of one event, such as (D,) or (C, H, W).
            context_shape: the shape of its context, for a conditional flow.
            standardise: without it the flow is the paper's alone, for data of about unit scale.

        Raises:
            ValueError: the recipe cannot model events or context of that shape.
        """
        return self._signed(self._build(event_shape, context_shape), standardise)

    def _signed(self, flow: caudal.Flow, standardise: bool) -> caudal.Flow:
        """The flow, standardised or not, which knows that this recipe has built it."""
        flow = standardised(flow) if standardise else flow
        flow.origin = caudal.flow.Origin(self, standardised=standardise)
        return flow

    def build_on_circles(
        self,
        event_shape: Sequence[int],
        circles: Circles,
        context_shape: Sequence[int] | None = None,
        *,
        standardise: bool = True,
    ) -> caudal.Flow:
        """A new flow over vectors (D,) some of whose columns are circles; else as `build`.

        The density has no seam: it goes on smoothly from one end of a circle to the other. Values
        beyond the ends are taken modulo the period, and samples lie within it. The angles come
        first, by circular splines, and the recipe's own layers move the other columns given them.

        Args:
            event_shape: (D,).
            circles: two values that are the same point, by the index of the column, such as
                {0: (-math.pi, math.pi), 3: (0, 24)}.
            context_shape: as of `build`.
            standardise: as of `build`, for the other columns.

        Raises:
            ValueError: the recipe models no vectors, or there are no such columns.
        """
        from caudal.recipes.circles import build_on_circles

        sizes = self._sizes(event_shape, context_shape)
        flow = build_on_circles(self, *sizes, circles, standardise)
        flow.origin = caudal.flow.Origin(self, standardised=standardise)
        return flow

    @abstractmethod
    def _build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> caudal.Flow:
        """The flow of the paper, which is `build` without standardisation."""

    def angles(self, n: int, context: int) -> caudal.Bijection:
        """The bijection of n angles among the columns, given that many features of context.

        From standard normal noise to angles in [-pi, pi].
        """
        from caudal.recipes.circles import angles

        return angles(n, context)

    def _sizes(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None
    ) -> tuple[int, int]:
        """The D of event shape (D,) and the C of context shape (C,), 0 without context."""
        if isinstance(event_shape, int) or len(event_shape) != 1 or event_shape[0] < 1:
            kinds = "vectors (D,) or images (C, H, W)" if self.images else "vectors (D,)"
            raise ValueError(f"{self.name} models {kinds}, got event shape {event_shape}")
        return event_shape[0], self._context_size(context_shape)

    def _image_sizes(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None
    ) -> tuple[Shape, int]:
        """The event shape (C, H, W), and the C of context shape (C,), 0 without context."""
        if isinstance(event_shape, int) or len(event_shape) != 3 or min(event_shape) < 1:
            raise ValueError(f"{self.name} models images (C, H, W), got event shape {event_shape}")
        channels, height, width = event_shape
        return (channels, height, width), self._context_size(context_shape)

    def _refuse_given(self, names: Sequence[str], whose: str) -> None:
        """Refuses fields that differ from their defaults and would have no effect."""
        for field in fields(self):
            if field.name in names and getattr(self, field.name) != field.default:
                raise ValueError(f"`{field.name}` is for {whose}: leave it out")

    def _context_size(self, shape: Sequence[int] | None) -> int:
        if shape is None:
            return 0
        if isinstance(shape, int) or len(shape) != 1 or shape[0] < 1:
            raise ValueError(f"{self.name} takes context vectors (C,), got shape {shape}")
        return shape[0]


def standardised(flow: caudal.Flow) -> caudal.Flow:
    """The flow of standardised events and context; a base on an interval has its own scale."""
    parts = caudal.bijection.parts_of(flow.bijection)
    if not isinstance(flow.base, caudal.base.Uniform):
        parts.append(caudal.bijections.Standardise(flow.base.event_shape))
    embedding = flow.embedding
    if embedding is None and flow.context_shape is not None:
        embedding = caudal.nets.ColumnEmbedding([0] * flow.context_shape[0])
    return caudal.Flow(
        caudal.Chain(parts),
        flow.base,
        context_shape=flow.context_shape,
        embedding=embedding,
        dequantization=flow.dequantization,
    )


def own_bijection(recipe: Recipe, flow: caudal.Flow) -> caudal.Bijection:
    """The bijection of the recipe's flow, to stand in a larger one.

    An embedding of the flow's own stays with it, and takes the context that the larger flow has.

    Raises:
        InputError: the flow has a dequantisation of its own.
    """
    if flow.dequantization is not None:
        raise InputError(
            f"{recipe.name} has a `dequantization` of its own, and the data's columns or pixels "
            f"bring theirs: build the flow without it"
        )
    if flow.embedding is None:
        return flow.bijection
    return caudal.bijections.Embedded(flow.bijection, flow.embedding)


def parity(features: int, layer: int) -> Tensor:
    """NICE's alternating masks: even layers keep the even columns, odd layers the odd ones.

    A single column is never kept: it is transformed by free parameters, or by the context.
    """
    import torch

    keep = torch.arange(features) % 2 == layer % 2
    return keep if features > 1 else torch.zeros_like(keep)


def bending(recipe: Any) -> caudal.elementwise.Elementwise:
    """The map of the numbers in a recipe of splines: these, or sinh conjugations.

    Raises:
        ValueError: the recipe has a `bound`, and a map that has none.
    """
    if recipe.map == "spline":
        return caudal.elementwise.RationalQuadraticSpline(recipe.bins, recipe.bound)
    recipe._refuse_given(("bound",), "splines, and sinh conjugations bend the whole line")
    return caudal.elementwise.SinhConjugation(recipe.bins)


def mlp_coupling(
    elementwise: caudal.elementwise.Elementwise,
    keep: Tensor,
    context: int,
    hidden: Sequence[int],
    activation: str,
) -> caudal.Bijection:
    """A coupling of vectors steered by an MLP."""
    kept, moved = int(keep.sum()), int((~keep).sum())
    if kept + context == 0:  # the net would have no input: free parameters instead
        return caudal.bijections.Pointwise(elementwise, (moved,))
    net = caudal.nets.MLP(kept, moved, elementwise.n_params, hidden, context, activation)
    return caudal.bijections.Coupling(net, elementwise, keep)


def residual_coupling(
    elementwise: caudal.elementwise.Elementwise,
    keep: Tensor,
    context: int,
    hidden: int,
    blocks: int,
    dropout: float,
    periodic: bool = False,
) -> caudal.Bijection:
    """A coupling of vectors steered by a residual MLP, which sees angles if `periodic`."""
    kept, moved = int(keep.sum()), int((~keep).sum())
    if kept + context == 0:
        return caudal.bijections.Pointwise(elementwise, (moved,))
    seen = kept * caudal.nets.FEATURES if periodic else kept
    net = caudal.nets.ResidualMLP(
        seen, moved, elementwise.n_params, hidden, blocks, context, dropout=dropout
    )
    conditioner = caudal.nets.Periodic(net) if periodic else net
    return caudal.bijections.Coupling(conditioner, elementwise, keep)
