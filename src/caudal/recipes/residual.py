"""i-ResNet and Residual Flow: residual blocks whose branch is a contraction, and so invertible."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Lt

import caudal
from caudal.recipes.multiscale import MOST_SCALES, check_halvings, halvings_of, squeezed_shape
from caudal.recipes.recipe import Recipe, Shape, Widths

if TYPE_CHECKING:
    from caudal.numerics import Series


@dataclass(frozen=True)
class ResidualRecipe(Recipe):
    """What i-ResNet and Residual Flow share: an ActNorm before each block, scales by squeezing."""

    scores = "parallel"
    samples = "iterated"
    images = True
    pixels = "white"

    blocks: Annotated[int, Ge(1)] = 16
    """Residual blocks; for images, at each scale."""
    hidden: Widths = (128, 128)
    """Tables: units of each hidden layer of each net."""
    maps: Annotated[int, Ge(1)] = 32
    """Images: feature maps of the nets."""
    scales: Annotated[int, Ge(1)] | None = None
    """Images: resolutions; by default 3, or fewer if the size cannot be halved so often."""
    squeeze_first: bool = True
    """Images: begin at half the resolution, which is four times as fast."""
    coefficient: Annotated[float, Gt(0), Lt(1)] = 0.9
    """Largest norm of each layer, below 1."""
    activation: Literal["elu", "lipswish"] = "elu"
    """Activation of the hidden layers."""
    terms: Annotated[int, Ge(1)] = 5
    """Terms of the log-det's series in training, for events of more than 4 elements."""
    evaluation_terms: Annotated[int, Ge(1)] = 20
    """Terms of the series in evaluation, for events of more than 64 elements; else it is exact."""

    @property
    @abstractmethod
    def _series(self) -> tuple[Series, Series]:
        """The series in training, and in evaluation."""

    def _build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> caudal.Flow:
        if not isinstance(event_shape, int) and len(event_shape) == 3:
            return self._build_images(event_shape, context_shape)
        images_alone = ("maps", "scales", "squeeze_first", "dense")
        self._refuse_given(images_alone, "images, and these are vectors")
        features, context = self._sizes(event_shape, context_shape)
        parts: list[caudal.Bijection] = [caudal.bijections.ActNorm((features,))]
        for _ in range(self.blocks):
            parts.append(self._vector_block(features, self.hidden, context))
            parts.append(caudal.bijections.ActNorm((features,)))
        base = caudal.base.Normal((features,))
        return caudal.Flow(caudal.Chain(parts), base, context_shape=context_shape)

    def _vector_block(
        self, features: int, hidden: Sequence[int], context: int
    ) -> caudal.bijections.Residual:
        net = caudal.nets.LipschitzMLP(
            features, hidden, self.coefficient, self.activation, context
        )
        return caudal.bijections.Residual(net, (features,), *self._series)

    def _build_images(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None
    ) -> caudal.Flow:
        self._refuse_given(("hidden",), "tables, and these are images")
        shape, context = self._image_sizes(event_shape, context_shape)
        fitting = halvings_of(shape) + (not self.squeeze_first)
        scales = self.scales or max(1, min(MOST_SCALES, fitting))
        check_halvings(self.name, shape, scales - (not self.squeeze_first), fitting)
        if self.squeeze_first:
            scale = self._scale(squeezed_shape(shape), scales, context)
            inner: caudal.Bijection = caudal.bijections.Squeezed(scale)
        else:
            inner = self._scale(shape, scales, context)
        # Every pixel is normalised at the start, as blocks stretch by a factor below two.
        norm = caudal.bijections.ActNorm((math.prod(shape),))
        chain = caudal.Chain([inner, caudal.bijections.Flattened(norm, shape)])
        return caudal.Flow(chain, caudal.base.Normal(shape), context_shape=context_shape)

    def _scale(self, shape: Shape, scales: int, context: int) -> caudal.Bijection:
        """One scale and those below it, listed from the noise to the data."""
        channels, height, width = shape
        parts = [self._end(shape, context)]
        if scales > 1:
            below = self._scale(squeezed_shape(shape), scales - 1, context)
            parts = [caudal.bijections.Squeezed(below)]
        for _ in range(self.blocks):
            net = caudal.nets.LipschitzConvNet(
                channels, self.maps, (height, width), self.coefficient, self.activation, context
            )
            parts.append(caudal.bijections.Residual(net, shape, *self._series))
            parts.append(caudal.bijections.ActNorm((channels, 1, 1)))
        return caudal.Chain(parts)

    def _end(self, shape: Shape, context: int) -> caudal.Bijection:
        """The layers between the base and the last scale."""
        return caudal.bijections.ActNorm((shape[0], 1, 1))


@dataclass(frozen=True)
class IResNet(ResidualRecipe):
    """z = x + g(x) with Lip(g) < 1 by spectral normalisation; the log-det by a truncated series.

    The series is biased, and training uses it as it is. Evaluation uses the determinant itself
    for events of up to 64 elements; for larger ones it reports a bound on the bias.
    Reference: Invertible residual networks (Behrmann, Grathwohl, Chen, Duvenaud, Jacobsen, 2019),
    arXiv:1811.00995.
    """

    name = "iresnet"
    paper = "Behrmann, Grathwohl, Chen, Duvenaud, Jacobsen, arXiv:1811.00995"
    year = 2019
    good_for = "free-form layers, of tables and images; residual-flow is its successor"

    @property
    def _series(self) -> tuple[Series, Series]:
        truncated = caudal.numerics.Truncated
        return truncated(self.terms), truncated(self.evaluation_terms)


_DENSE = 128  # units of the fully connected blocks


@dataclass(frozen=True)
class ResidualFlow(ResidualRecipe):
    """z = x + g(x) with Lip(g) < 1; the log-det by a series of random length: Russian roulette.

    The second derivative of ELU vanishes in places, so that log-dets cannot learn there; that of
    LipSwish does not. Evaluation uses the determinant itself for events of up to 64 elements; for
    larger ones scores are unbiased and have a standard error.
    Reference: Residual flows for invertible generative modeling (Chen, Behrmann, Duvenaud,
    Jacobsen, 2019), arXiv:1906.02735.
    """

    name = "residual-flow"
    paper = "Chen, Behrmann, Duvenaud, Jacobsen, arXiv:1906.02735"
    year = 2019
    good_for = "free-form layers, of tables and images, trained without bias"

    coefficient: Annotated[float, Gt(0), Lt(1)] = 0.98
    """Largest norm of each layer, below 1."""
    activation: Literal["elu", "lipswish"] = "lipswish"
    """Activation of the hidden layers."""
    terms: Annotated[int, Ge(1)] = 2
    """Terms of the log-det's series that training always takes; how many more is random."""
    law: Literal["geometric", "poisson"] = "geometric"
    """Distribution of the number of further terms; the paper's code has poisson."""
    dense: Annotated[int, Ge(0)] = 4
    """Images: fully connected blocks after the last scale."""

    @property
    def _series(self) -> tuple[Series, Series]:
        roulette = caudal.numerics.Roulette
        return roulette(self.terms, law=self.law), roulette(self.evaluation_terms, law=self.law)

    def _end(self, shape: Shape, context: int) -> caudal.Bijection:
        channels, height, width = shape
        features = channels * height * width
        parts: list[caudal.Bijection] = [caudal.bijections.ActNorm((features,))]
        for _ in range(self.dense):
            parts.append(self._vector_block(features, (_DENSE, _DENSE), context))
        return caudal.bijections.Flattened(caudal.Chain(parts), shape)
