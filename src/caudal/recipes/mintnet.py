"""MintNet: masked layers with a positive diagonal, in raster order and in its reverse."""

from collections.abc import Sequence
from dataclasses import dataclass

from caudal.base import Normal
from caudal.bijection import Bijection, Chain
from caudal.bijections import ActNorm, Flip, Squeezed, Triangular
from caudal.flow import Flow
from caudal.nets import TriangularConvNet, TriangularMLP
from caudal.recipes.multiscale import MOST_SCALES, check_halvings, halvings_of, squeezed_shape
from caudal.recipes.recipe import Recipe, Shape

VECTOR_MAPS, IMAGE_MAPS = 128, 32
"""About as many in each layer, unless told otherwise."""


@dataclass(frozen=True)
class MintNet(Recipe):
    """z = exp(s) x + f(x), f a masked net that sees each element and those before it.

    Layers come in pairs, one in the order of the elements, one in reverse. Images become half as
    large after each share of them, and nothing is factored out; an ActNorm comes first. The
    paper's sizes are the presets; the defaults are those a CPU can train.
    Reference: MintNet: building invertible neural networks with masked convolutions (Song, Meng,
    Ermon, 2019), arXiv:1907.07945.
    """

    name = "mintnet"
    paper = "Song, Meng, Ermon, arXiv:1907.07945"
    year = 2019
    good_for = "images: the best densities here for their size; samples take dozens of sweeps"
    scores = "parallel"
    samples = "iterated"
    images = True
    pixels = "logit"

    layers: int = 6
    """Pairs of layers; of images in equal shares at all scales, the rest at the last."""
    latents: int | None = None
    """Maps of each column or channel, a quarter of it, at least 2, at half the resolution; if not
    given as many as make 128 maps of tables, 32 of images."""
    scales: int | None = None
    """Images: resolutions, from that of the image on; if not given 3, or as many as can be."""

    def build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> Flow:
        if not isinstance(event_shape, int) and len(event_shape) == 3:
            return self._build_images(event_shape, context_shape)
        self._refuse_given(("scales",), "images, and these are vectors")
        features, context = self._sizes(event_shape, context_shape)
        latents = self.latents or max(2, VECTOR_MAPS // features)
        parts: list[Bijection] = []
        for _ in range(2 * self.layers):
            parts += [Flip(), Triangular(TriangularMLP(features, latents, context), (features,))]
        return Flow(Chain(parts), Normal((features,)), context_shape=context_shape)

    def _build_images(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None
    ) -> Flow:
        shape, context = self._image_sizes(event_shape, context_shape)
        fitting = halvings_of(shape) + 1
        scales = self.scales or min(MOST_SCALES, fitting)
        check_halvings(self.name, shape, scales - 1, fitting)
        latents = self.latents or max(2, IMAGE_MAPS // shape[0])
        shares = [self.layers // scales] * scales
        shares[-1] += self.layers % scales
        parts = [self._scale(shape, shares, latents, context), ActNorm((shape[0], 1, 1))]
        return Flow(Chain(parts), Normal(shape), context_shape=context_shape)

    def _scale(self, shape: Shape, shares: list[int], latents: int, context: int) -> Bijection:
        """One scale and those below it, listed from the noise to the data."""
        parts: list[Bijection] = []
        if len(shares) > 1:
            fewer = max(2, latents // 4)
            below = self._scale(squeezed_shape(shape), shares[1:], fewer, context)
            parts.append(Squeezed(below))
        for _ in range(2 * shares[0]):
            parts += [Flip(), Triangular(TriangularConvNet(shape[0], latents, context), shape)]
        return Chain(parts)
