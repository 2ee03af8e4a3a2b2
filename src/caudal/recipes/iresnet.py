"""i-ResNet: residual blocks that are invertible because what they add is a contraction."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from caudal.base import Normal
from caudal.bijection import Bijection, Chain
from caudal.bijections import ActNorm, Flattened, Residual, Squeezed
from caudal.flow import Flow
from caudal.nets import LipschitzConvNet, LipschitzMLP
from caudal.numerics import Series, Truncated
from caudal.recipes.multiscale import MOST_SCALES, check_halvings, halvings_of, squeezed_shape
from caudal.recipes.recipe import Recipe, Shape


@dataclass(frozen=True)
class ResidualRecipe(Recipe):
    """What i-ResNet and Residual Flow share: an ActNorm before each block, scales by squeezing."""

    scores = "parallel"
    samples = "iterated"
    images = True
    pixels = "logit"

    blocks: int = 16
    """Residual blocks; of images, at each scale."""
    hidden: tuple[int, ...] = (128, 128)
    """Tables: units of each hidden layer of each net."""
    maps: int = 32
    """Images: feature maps of the nets."""
    scales: int | None = None
    """Images: resolutions; if not given 3, or as many as the size can be halved to."""
    squeeze_first: bool = True
    """Images: begin at half the resolution, which is four times as fast."""
    coefficient: float = 0.9
    """Norm of each layer at most, below 1."""
    activation: Literal["elu", "lipswish"] = "elu"
    """elu or lipswish."""
    terms: int = 5
    """Terms of the log-det's series in training, of events of more than 4 elements."""
    evaluation_terms: int = 20
    """Terms of it in evaluation, of events of more than 64 elements; of others it is exact."""

    @property
    @abstractmethod
    def _series(self) -> tuple[Series, Series]:
        """The series of training, and of evaluation."""

    def build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> Flow:
        if not isinstance(event_shape, int) and len(event_shape) == 3:
            return self._build_images(event_shape, context_shape)
        images_alone = ("maps", "scales", "squeeze_first", "dense")
        self._refuse_given(images_alone, "images, and these are vectors")
        features, context = self._sizes(event_shape, context_shape)
        parts: list[Bijection] = [ActNorm((features,))]
        for _ in range(self.blocks):
            parts += [self._vector_block(features, self.hidden, context), ActNorm((features,))]
        return Flow(Chain(parts), Normal((features,)), context_shape=context_shape)

    def _vector_block(self, features: int, hidden: Sequence[int], context: int) -> Residual:
        net = LipschitzMLP(features, hidden, self.coefficient, self.activation, context)
        return Residual(net, (features,), *self._series)

    def _build_images(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None
    ) -> Flow:
        self._refuse_given(("hidden",), "tables, and these are images")
        shape, context = self._image_sizes(event_shape, context_shape)
        fitting = halvings_of(shape) + (not self.squeeze_first)
        scales = self.scales or max(1, min(MOST_SCALES, fitting))
        check_halvings(self.name, shape, scales - (not self.squeeze_first), fitting)
        if self.squeeze_first:
            inner: Bijection = Squeezed(self._scale(squeezed_shape(shape), scales, context))
        else:
            inner = self._scale(shape, scales, context)
        # Each pixel begins as noise like the others: blocks stretch by less than two.
        pixels = Flattened(ActNorm((math.prod(shape),)), shape)
        return Flow(Chain([inner, pixels]), Normal(shape), context_shape=context_shape)

    def _scale(self, shape: Shape, scales: int, context: int) -> Bijection:
        """One scale and those below it, listed from the noise to the data."""
        channels, height, width = shape
        parts = [self._end(shape, context)]
        if scales > 1:
            parts = [Squeezed(self._scale(squeezed_shape(shape), scales - 1, context))]
        for _ in range(self.blocks):
            net = LipschitzConvNet(
                channels, self.maps, (height, width), self.coefficient, self.activation, context
            )
            parts += [Residual(net, shape, *self._series), ActNorm((channels, 1, 1))]
        return Chain(parts)

    def _end(self, shape: Shape, context: int) -> Bijection:
        """What comes between the base and the last scale."""
        return ActNorm((shape[0], 1, 1))


@dataclass(frozen=True)
class IResNet(ResidualRecipe):
    """z = x + g(x) with Lip(g) < 1 by spectral normalisation; the log-det by a truncated series.

    The series is biased, and training takes it as it is. Evaluation takes the determinant itself
    in events of up to 64 elements; in larger ones it says what the bias is at most.
    Reference: Invertible residual networks (Behrmann, Grathwohl, Chen, Duvenaud, Jacobsen, 2019),
    arXiv:1811.00995.
    """

    name = "iresnet"
    paper = "Behrmann, Grathwohl, Chen, Duvenaud, Jacobsen, arXiv:1811.00995"
    year = 2019
    good_for = "free-form layers, of tables and images; residual-flow is its successor"

    @property
    def _series(self) -> tuple[Series, Series]:
        return Truncated(self.terms), Truncated(self.evaluation_terms)
