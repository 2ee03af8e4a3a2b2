"""Real-NVP: affine couplings and batch normalisation, of vectors, or of images at scales."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from caudal.base import Normal
from caudal.bijection import Bijection, Chain, Inverse
from caudal.bijections import BatchNorm, Coupling, FactorOut, Squeezed
from caudal.elementwise import Affine
from caudal.flow import Flow
from caudal.nets import BoundedScale, ResidualConvNet
from caudal.recipes.multiscale import check_halvings, halvings_of, squeezed_shape
from caudal.recipes.recipe import Recipe, Shape, mlp_coupling, parity

SCALES = 2
"""Of images, unless told otherwise: the paper's number for CIFAR-10."""


@dataclass(frozen=True)
class RealNVP(Recipe):
    """Affine couplings, each followed by a batch normalisation.

    Vectors: couplings on alternating columns, in the fully connected form of the MAF paper.
    Images: at each scale three couplings with checkerboard masks, a squeeze, three with channel
    masks, and half of it is noise; the last scale is four checkerboards. The paper's sizes are
    the presets; the defaults for images are those a CPU can train.
    As in its paper, the nets tell scale and shift from data to noise: z = x exp(s) + t.
    Reference: Density estimation using Real NVP (Dinh, Sohl-Dickstein, Bengio, 2017),
    arXiv:1605.08803; vectors as in arXiv:1705.07057.
    """

    name = "realnvp"
    paper = "Dinh, Sohl-Dickstein, Bengio, arXiv:1605.08803"
    year = 2017
    good_for = "tables and images, fast both ways; a default where samples are needed in bulk"
    scores = "parallel"
    samples = "parallel"
    images = True
    pixels = "logit"

    layers: int = 5
    """Tables: couplings."""
    hidden: tuple[int, ...] = (512, 512)
    """Tables: units of each hidden layer of each net."""
    activation: str = "relu"
    """Tables: relu, tanh, elu, silu or gelu."""
    scales: int | None = None
    """Images: resolutions; 2 if not given, or 1 where the size cannot be halved."""
    maps: int = 16
    """Images: feature maps of the nets at full resolution; at half of it twice as many."""
    blocks: int = 2
    """Images: residual blocks of each net."""
    batch_norm: bool = True
    """Batch normalisation after each coupling."""

    def build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> Flow:
        if not isinstance(event_shape, int) and len(event_shape) == 3:
            return self._build_images(event_shape, context_shape)
        self._refuse_given(("scales", "maps", "blocks"), "images, and these are vectors")
        features, context = self._sizes(event_shape, context_shape)
        parts: list[Bijection] = []
        for layer in range(self.layers):
            keep = parity(features, layer)
            coupling = mlp_coupling(Affine(), keep, context, self.hidden, self.activation)
            parts += self._with_norm(Inverse(coupling), (features,))
        return Flow(Chain(parts), Normal((features,)), context_shape=context_shape)

    def _build_images(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None
    ) -> Flow:
        self._refuse_given(("layers", "hidden", "activation"), "tables, and these are images")
        shape, context = self._image_sizes(event_shape, context_shape)
        scales = self.scales or max(1, min(SCALES, _fitting(shape)))
        check_halvings(self.name, shape, scales - 1, _fitting(shape))
        bijection = self._scale(shape, scales, self.maps, context)
        return Flow(bijection, Normal(shape), context_shape=context_shape)

    def _scale(self, shape: Shape, scales: int, maps: int, context: int) -> Bijection:
        """One scale and those below it, listed from the noise to the data."""
        if scales == 1:
            return Chain(self._checkerboards(shape, 4, maps, context))
        channels, height, width = squeezed_shape(shape)
        half = channels // 2
        below = self._scale((half, height, width), scales - 1, 2 * maps, context)
        halves = self._halves((channels, height, width), 3, 2 * maps, context)
        squeezed = Squeezed(Chain([FactorOut(below, half), *halves]))
        return Chain([squeezed, *self._checkerboards(shape, 3, maps, context)])

    def _checkerboards(self, shape: Shape, n: int, maps: int, context: int) -> list[Bijection]:
        channels = shape[0]
        parts: list[Bijection] = []
        for layer in reversed(range(n)):
            board = checkerboard(shape, layer)
            net = self._net(channels, channels, maps, context, board[:1].float())
            parts += self._with_norm(_affine(net, channels, board), (channels, 1, 1))
        return parts

    def _halves(self, shape: Shape, n: int, maps: int, context: int) -> list[Bijection]:
        channels = shape[0]
        first = torch.arange(channels) < channels // 2
        parts: list[Bijection] = []
        for layer in reversed(range(n)):
            keep = first if layer % 2 == 0 else ~first
            net = self._net(channels // 2, channels // 2, maps, context)
            parts += self._with_norm(_affine(net, channels // 2, keep), (channels, 1, 1))
        return parts

    def _net(
        self, inputs: int, outputs: int, maps: int, context: int, mask: Tensor | None = None
    ) -> ResidualConvNet:
        n_params = Affine().n_params
        return ResidualConvNet(inputs, outputs, n_params, maps, self.blocks, context, mask=mask)

    def _with_norm(self, coupling: Bijection, shape: tuple[int, ...]) -> list[Bijection]:
        return [BatchNorm(shape), coupling] if self.batch_norm else [coupling]


def _fitting(shape: Shape) -> int:
    """How many scales there can be: at each a checkerboard, which needs 2 pixels."""
    halvings = halvings_of(shape)
    last = shape[1] * shape[2] >> 2 * halvings
    return halvings + (last > 1)


def _affine(net: ResidualConvNet, channels: int, keep: Tensor) -> Bijection:
    """Z = x exp(s) + t, s = gain tanh(raw)."""
    unbounded = Affine(bound=float("inf"))  # tanh is the bound
    return Inverse(Coupling(BoundedScale(net, channels), unbounded, keep))


def checkerboard(shape: Shape, layer: int) -> Tensor:
    """The mask (C, H, W) that keeps the squares of one colour: the other one in odd layers."""
    channels, height, width = shape
    if height * width < 2:
        raise ValueError("a checkerboard needs at least 2 pixels, 1x1 has one: take fewer scales")
    board = (torch.arange(height)[:, None] + torch.arange(width)) % 2 == layer % 2
    return board.expand(channels, height, width).clone()
