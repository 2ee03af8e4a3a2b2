"""TarFlow: autoregressive layers whose nets are causal transformers, over patches or columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge

import caudal
from caudal.recipes.recipe import Recipe, Shape, parity

if TYPE_CHECKING:
    from caudal.elementwise import Elementwise

SMALL_PATCH = 4
_IMAGE_LAYERS, _VECTOR_LAYERS = 2, 4
_FEATURES = 2
"""What the transformer tells of each number of a patch, for the couplings within."""
FEWEST_TOKENS, USUAL_TOKENS, MOST_TOKENS = 4, 64, 4096
"""Patches of an image by default, at least and at most, and the most that are taken at all."""


@dataclass(frozen=True)
class TransformerRecipe(Recipe):
    """What the transformer flows share: layers of causal transformers, the event turned between.

    Images are sequences of patches; couplings make the pixels of a patch depend on each other.
    Vectors are sequences of columns, which an LU linear map mixes after each layer.
    """

    images = True
    pixels = "logit"
    element = "token"

    layers: Annotated[int, Ge(0)] | None = None
    """Autoregressive layers, every second one in the reverse order of the tokens; by default 2 of
    images, whose couplings are layers too, and 4 of vectors."""
    depth: Annotated[int, Ge(1)] = 1
    """Layers of attention in each transformer."""
    width: Annotated[int, Ge(1)] = 64
    """Numbers of a token within the transformers."""
    heads: Annotated[int, Ge(1)] = 4
    """Heads of each attention; the width is a multiple of them."""
    patch: Annotated[int, Ge(1)] | None = None
    """Images: side of a patch; by default the smallest from 2 on that makes 4 to 64 of them."""
    map: Literal["affine", "spline", "mixture", "sinh"] | None = None
    """What becomes of each number: scale and shift, a rational-quadratic spline, a mixture of
    Gaussians, or sinh conjugations, smooth everywhere; by default splines, but for images in the
    layer next to the data alone, and affine maps in the others."""
    pieces: Annotated[int, Ge(2)] = 8
    """Bins of each spline, components of each mixture, or sinh conjugations."""
    couplings: Annotated[int, Ge(0)] = 2
    """Images: couplings of the pixels of a patch in each layer, given the patches before; with
    none these pixels are independent, as in the paper."""

    def _build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> caudal.Flow:
        if not isinstance(event_shape, int) and len(event_shape) == 3:
            return self._build_images(event_shape, context_shape)
        self._refuse_given(("patch",), "images, and these are vectors")
        features, context = self._sizes(event_shape, context_shape)
        if self.couplings not in (0, type(self).couplings):
            raise ValueError("`couplings` is for images, and these are vectors: leave it out")
        layers = _VECTOR_LAYERS if self.layers is None else self.layers
        chain = self._chain((features,), context, [self.map or "spline"] * layers)
        return caudal.Flow(chain, caudal.base.Normal((features,)), context_shape=context_shape)

    def _build_images(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None
    ) -> caudal.Flow:
        shape, context = self._image_sizes(event_shape, context_shape)
        patch = patch_of(self.name, shape, self.patch)
        channels, height, width = shape
        tokens = (channels * patch * patch, height * width // (patch * patch))
        # A pixel is ink or not: two peaks, which no scale and shift makes of one.
        layers = _IMAGE_LAYERS if self.layers is None else self.layers
        usual = ["affine"] * (layers - 1) + ["spline"]
        maps = [self.map or usual[layer] for layer in range(layers)]
        chain = self._chain(tokens, context, maps)
        patches = caudal.bijections.Patches(chain, shape, patch)
        each = caudal.bijections.ActNorm((math.prod(shape),))
        whole = caudal.Chain([patches, caudal.bijections.Flattened(each, shape)])
        return caudal.Flow(whole, caudal.base.Normal(shape), context_shape=context_shape)

    def _chain(
        self, event_shape: tuple[int, ...], context: int, maps: Sequence[str]
    ) -> caudal.Bijection:
        """Layers with these maps, listed from the noise to the data."""
        parts: list[caudal.Bijection] = []
        for name in maps:
            layer = self._layer(event_shape, context, self._map(name))
            parts += [caudal.bijections.Flip(), layer]
            if len(event_shape) == 1:
                parts.append(caudal.bijections.LULinear(*event_shape))
        if len(event_shape) == 2 and parts:
            # Neighbouring pixels are much alike.
            parts.insert(-2, caudal.bijections.Decorrelate(event_shape[0]))
        return caudal.Chain(parts)

    def _layer(
        self,
        event_shape: tuple[int, ...],
        context: int,
        elementwise: Elementwise,
        ordered: bool = False,
    ) -> caudal.Bijection:
        """An autoregressive layer; columns, which differ in kind, have embeddings of their own."""
        within = self._within(event_shape[0], elementwise) if len(event_shape) == 2 else None
        law = elementwise if within is None else within
        net = caudal.nets.CausalTransformer(
            event_shape,
            law.n_params,
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            context=context,
            own=len(event_shape) == 1,
            ordered=ordered,
        )
        if within is not None:
            net.begin_wide()
        elif isinstance(elementwise, caudal.elementwise.MixtureGaussian):
            net.begin_at(elementwise.spread())
        return caudal.bijections.Autoregressive(net, law)

    def _within(
        self, size: int, elementwise: Elementwise
    ) -> caudal.bijections.TokenCouplings | None:
        """Couplings of the numbers of a patch; None where they are to be independent."""
        if self.couplings == 1 and size > 1:
            raise ValueError("`couplings` 1 leaves half of each patch as it is: give 2, or 0")
        couplings = []
        for layer in range(self.couplings if size > 1 else 0):
            keep = parity(size, layer)
            kept, moved = int(keep.sum()), int((~keep).sum())
            hidden = (2 * self.width,)
            sizes = kept, moved, elementwise.n_params, hidden, _FEATURES * size
            # An outlier would otherwise move its patch, layer after layer, beyond all numbers.
            net = caudal.nets.MLP(*sizes, softened=True)
            if isinstance(elementwise, caudal.elementwise.MixtureGaussian):
                net.begin_at(elementwise.spread())
            couplings.append(caudal.bijections.Coupling(net, elementwise, keep))
        return caudal.bijections.TokenCouplings(couplings, _FEATURES) if couplings else None

    def _map(self, name: str) -> Elementwise:
        maps = caudal.elementwise
        if name == "spline":
            return maps.RationalQuadraticSpline(self.pieces)
        if name == "mixture":
            return maps.MixtureGaussian(self.pieces)
        return maps.SinhConjugation(self.pieces) if name == "sinh" else maps.Affine()


@dataclass(frozen=True)
class TarFlow(TransformerRecipe):
    """MAF with causal transformers over the patches of an image, or the columns of a table.

    The paper's sizes are the presets; the defaults are small enough for a CPU.
    Reference: Normalizing flows are capable generative models (Zhai et al., 2024),
    arXiv:2412.06329.
    """

    name = "tarflow"
    paper = "Zhai et al., arXiv:2412.06329"
    year = 2024
    good_for = "densities of images, on a CPU or an accelerator; a teacher for fast students"
    scores = "parallel"
    samples = "sequential"

    order: Literal["flips", "any"] = "flips"
    """Order of the tokens: reversed after every layer, or any, which all layers share and training
    draws; then columns or patches are conditioned on whichever others exactly."""

    def _chain(
        self, event_shape: tuple[int, ...], context: int, maps: Sequence[str]
    ) -> caudal.Bijection:
        if self.order == "flips":
            return super()._chain(event_shape, context, maps)
        *channels, length = event_shape
        parts: list[caudal.Bijection] = []
        for name in maps:
            # Nothing is turned between layers, and other tokens must wait their turn.
            parts += [caudal.bijections.Decorrelate(size) for size in channels]
            parts.append(self._layer(event_shape, context, self._map(name), ordered=True))
        return caudal.bijections.AnyOrder(parts, length)


@dataclass(frozen=True)
class TarFlowIAF(TransformerRecipe):
    """TarFlow with the directions of its layers swapped: samples in one pass of each transformer.

    It is a student for tarflow, layer by layer: a sample and its density take one pass. Of images
    Glow is the better student in equal time.
    Reference: Improving variational inference with inverse autoregressive flow (Kingma et al.,
    2016), arXiv:1606.04934; the transformers are those of Normalizing flows are capable
    generative models (Zhai et al., 2024), arXiv:2412.06329.
    """

    name = "tarflow-iaf"
    paper = "Kingma et al., arXiv:1606.04934"
    year = 2016
    good_for = "a student with transformers, distilled from tarflow: fast samples"
    scores = "sequential"
    samples = "parallel"

    def _layer(
        self,
        event_shape: tuple[int, ...],
        context: int,
        elementwise: Elementwise,
        ordered: bool = False,
    ) -> caudal.Bijection:
        return caudal.Inverse(super()._layer(event_shape, context, elementwise, ordered))


def patch_of(name: str, shape: Shape, patch: int | None) -> int:
    """The side of a patch: the one that is asked for, or one that makes not too many tokens.

    Raises:
        ValueError: the image has no whole patches of that size, or too many of them; the message
            names sizes that would do.
    """
    _, height, width = shape
    common = math.gcd(height, width)
    sides = [side for side in range(1, common + 1) if common % side == 0]
    fitting = [side for side in sides if height * width // side**2 <= MOST_TOKENS]
    if not fitting:
        high, wide = _near(height, width)
        raise ValueError(
            f"{name} takes an image as at most {MOST_TOKENS} square patches, and {height}x{width} "
            f"has no such patches; try images of {high}x{wide} (`resize=({high}, {wide})`)"
        )
    if patch is None:
        tokens = {side: height * width // side**2 for side in fitting}
        usual = [n for n, many in tokens.items() if FEWEST_TOKENS <= many <= USUAL_TOKENS]
        # A single token would have no order: where sides are prime, pixels are tokens.
        return next((side for side in usual if side > 1), (usual or fitting)[0])
    if patch not in fitting:
        raise ValueError(
            f"`patch` {patch}: images of {height}x{width} take {', '.join(map(str, fitting))}"
        )
    return patch


def in_small_patches(shape: Shape) -> bool:
    """Whether the patches by default are of at most 4x4 pixels, and so many as are usual.

    Larger ones leave more to the couplings within a patch: 7x7 was behind 4x4 on MNIST.
    """
    _, height, width = shape
    sides = [side for side in range(1, SMALL_PATCH + 1) if not (height % side or width % side)]
    tokens = (height * width // side**2 for side in sides)
    return any(FEWEST_TOKENS <= many <= USUAL_TOKENS for many in tokens)


def _near(height: int, width: int) -> tuple[int, int]:
    """The sizes nearest to these that have not too many patches, of 16x16 or larger."""
    side = 16
    while True:
        high, wide = (max(1, round(size / side)) for size in (height, width))
        if high * wide <= MOST_TOKENS:
            return high * side, wide * side
        side *= 2
