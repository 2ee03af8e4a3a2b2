"""MintNet: masked layers with a positive diagonal, in raster order and in its reverse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

import caudal
from caudal.recipes.multiscale import MOST_SCALES, check_halvings, halvings_of, squeezed_shape
from caudal.recipes.recipe import Recipe, Shape

VECTOR_MAPS, IMAGE_MAPS = 128, 32
"""About the default number of maps of each layer."""


@dataclass(frozen=True)
class MintNet(Recipe):
    """z = exp(s) x + f(x), f a masked net that sees each element and those before it.

    Layers come in pairs, one in the order of the elements, one in reverse. For images the layers
    are shared out among the scales, each at half the resolution of the one before; nothing is
    factored out, and an ActNorm comes first. The paper's sizes are the presets; the defaults are
    small enough for a CPU.
    Reference: MintNet: building invertible neural networks with masked convolutions (Song, Meng,
    Ermon, 2019), arXiv:1907.07945.
    """

    name = "mintnet"
    paper = "Song, Meng, Ermon, arXiv:1907.07945"
    year = 2019
    good_for = "images: good densities of few parameters; samples take dozens of sweeps"
    scores = "parallel"
    samples = "iterated"
    images = True
    pixels = "logit"

    layers: Annotated[int, Ge(0)] = 6
    """Pairs of layers; for images in equal shares at all scales, the rest at the last."""
    latents: Annotated[int, Ge(1)] | None = None
    """Maps of each column or channel, a quarter of it, at least 2, at half the resolution; by
    default as many as make 128 maps for tables, 32 for images."""
    scales: Annotated[int, Ge(1)] | None = None
    """Images: resolutions, the first is that of the image; by default 3, or fewer if the size
    cannot be halved so often."""

    def _build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> caudal.Flow:
        if not isinstance(event_shape, int) and len(event_shape) == 3:
            return self._build_images(event_shape, context_shape)
        self._refuse_given(("scales",), "images, and these are vectors")
        features, context = self._sizes(event_shape, context_shape)
        latents = self.latents or max(2, VECTOR_MAPS // features)
        parts: list[caudal.Bijection] = []
        for _ in range(2 * self.layers):
            net = caudal.nets.TriangularMLP(features, latents, context)
            parts.append(caudal.bijections.Flip())
            parts.append(caudal.bijections.Triangular(net, (features,)))
        base = caudal.base.Normal((features,))
        return caudal.Flow(caudal.Chain(parts), base, context_shape=context_shape)

    def _build_images(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None
    ) -> caudal.Flow:
        shape, context = self._image_sizes(event_shape, context_shape)
        fitting = halvings_of(shape) + 1
        scales = self.scales or min(MOST_SCALES, fitting)
        check_halvings(self.name, shape, scales - 1, fitting)
        latents = self.latents or max(2, IMAGE_MAPS // shape[0])
        shares = [self.layers // scales] * scales
        shares[-1] += self.layers % scales
        scale = self._scale(shape, shares, latents, context)
        chain = caudal.Chain([scale, caudal.bijections.ActNorm((shape[0], 1, 1))])
        return caudal.Flow(chain, caudal.base.Normal(shape), context_shape=context_shape)

    def _scale(
        self, shape: Shape, shares: list[int], latents: int, context: int
    ) -> caudal.Bijection:
        """One scale and those below it, listed from the noise to the data."""
        parts: list[caudal.Bijection] = []
        if len(shares) > 1:
            fewer = max(2, latents // 4)
            below = self._scale(squeezed_shape(shape), shares[1:], fewer, context)
            parts.append(caudal.bijections.Squeezed(below))
        for _ in range(2 * shares[0]):
            net = caudal.nets.TriangularConvNet(shape[0], latents, context)
            parts.append(caudal.bijections.Flip())
            parts.append(caudal.bijections.Triangular(net, shape))
        return caudal.Chain(parts)
