"""Real-NVP: affine couplings and batch normalisation, for vectors, or for images at scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge

import caudal
from caudal.recipes.multiscale import check_halvings, checkerboard, halvings_of, squeezed_shape
from caudal.recipes.recipe import Activation, Recipe, Shape, Widths, mlp_coupling, parity

if TYPE_CHECKING:
    from torch import Tensor

SCALES = 2
"""The default number of scales: the paper's for CIFAR-10."""


@dataclass(frozen=True)
class RealNVP(Recipe):
    """Affine couplings, each followed by a batch normalisation.

    Vectors: couplings on alternating columns, in the fully connected form of the MAF paper.
    Images: each scale has three couplings with checkerboard masks, a squeeze and three couplings
    with channel masks, after which half of the channels are noise; the last scale has four
    checkerboards. The paper's sizes are the presets; the defaults for images are small enough
    for a CPU.
    As in the paper, scale and shift map data to noise: z = x exp(s) + t.
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
    pixels = "white"
    ink = "logit"

    layers: Annotated[int, Ge(0)] = 5
    """Tables: couplings."""
    hidden: Widths = (512, 512)
    """Tables: units of each hidden layer of each net."""
    activation: Activation = "relu"
    """Tables: activation of the hidden layers."""
    scales: Annotated[int, Ge(1)] | None = None
    """Images: resolutions; by default 2, or 1 where the size cannot be halved."""
    maps: Annotated[int, Ge(1)] = 16
    """Images: feature maps of the nets at full resolution; twice as many at each halving."""
    blocks: Annotated[int, Ge(1)] = 2
    """Images: residual blocks of each net."""
    batch_norm: bool = True
    """Batch normalisation after each coupling."""
    norm: Literal["batch", "act"] = "batch"
    """Images: what normalises. Batch normalisation, of couplings and nets, as in the paper; or an
    ActNorm after each coupling, and plain nets, which need no moments of the whole training
    set at each validation."""

    def _build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> caudal.Flow:
        if not isinstance(event_shape, int) and len(event_shape) == 3:
            return self._build_images(event_shape, context_shape)
        images_alone = ("scales", "maps", "blocks", "norm")
        self._refuse_given(images_alone, "images, and these are vectors")
        features, context = self._sizes(event_shape, context_shape)
        parts: list[caudal.Bijection] = []
        for layer in range(self.layers):
            affine, keep = caudal.elementwise.Affine(), parity(features, layer)
            coupling = mlp_coupling(affine, keep, context, self.hidden, self.activation)
            parts += self._with_norm(caudal.Inverse(coupling), (features,))
        base = caudal.base.Normal((features,))
        return caudal.Flow(caudal.Chain(parts), base, context_shape=context_shape)

    def _build_images(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None
    ) -> caudal.Flow:
        self._refuse_given(("layers", "hidden", "activation"), "tables, and these are images")
        shape, context = self._image_sizes(event_shape, context_shape)
        scales = self.scales or max(1, min(SCALES, _fitting(shape)))
        check_halvings(self.name, shape, scales - 1, _fitting(shape))
        bijection = self._scale(shape, scales, self.maps, context)
        if self.norm == "act":  # the first nets see numbers of unit scale, too
            first = caudal.bijections.ActNorm((shape[0], 1, 1))
            bijection = caudal.Chain([bijection, first])
        return caudal.Flow(bijection, caudal.base.Normal(shape), context_shape=context_shape)

    def _scale(self, shape: Shape, scales: int, maps: int, context: int) -> caudal.Bijection:
        """One scale and those below it, listed from the noise to the data."""
        if scales == 1:
            return caudal.Chain(self._checkerboards(shape, 4, maps, context))
        channels, height, width = squeezed_shape(shape)
        half = channels // 2
        below = self._scale((half, height, width), scales - 1, 2 * maps, context)
        halves = self._halves((channels, height, width), 3, 2 * maps, context)
        factored = caudal.bijections.FactorOut(below, half)
        squeezed = caudal.bijections.Squeezed(caudal.Chain([factored, *halves]))
        return caudal.Chain([squeezed, *self._checkerboards(shape, 3, maps, context)])

    def _checkerboards(
        self, shape: Shape, n: int, maps: int, context: int
    ) -> list[caudal.Bijection]:
        channels = shape[0]
        parts: list[caudal.Bijection] = []
        for layer in reversed(range(n)):
            board = checkerboard(shape, layer)
            net = self._net(channels, channels, maps, context, board[:1].float())
            parts += self._with_norm(_affine(net, channels, board), (channels, 1, 1))
        return parts

    def _halves(self, shape: Shape, n: int, maps: int, context: int) -> list[caudal.Bijection]:
        import torch

        channels = shape[0]
        first = torch.arange(channels) < channels // 2
        parts: list[caudal.Bijection] = []
        for layer in reversed(range(n)):
            keep = first if layer % 2 == 0 else ~first
            net = self._net(channels // 2, channels // 2, maps, context)
            parts += self._with_norm(_affine(net, channels // 2, keep), (channels, 1, 1))
        return parts

    def _net(
        self, inputs: int, outputs: int, maps: int, context: int, mask: Tensor | None = None
    ) -> caudal.nets.ResidualConvNet:
        n_params = caudal.elementwise.Affine.n_params
        normalise = self.norm == "batch"
        return caudal.nets.ResidualConvNet(
            inputs, outputs, n_params, maps, self.blocks, context, mask=mask, normalise=normalise
        )

    def _with_norm(
        self, coupling: caudal.Bijection, shape: tuple[int, ...]
    ) -> list[caudal.Bijection]:
        if self.norm == "act":
            return [caudal.bijections.ActNorm(shape), coupling]
        return [caudal.bijections.BatchNorm(shape), coupling] if self.batch_norm else [coupling]


def _fitting(shape: Shape) -> int:
    """The largest number of scales: the checkerboards of each need at least 2 pixels."""
    halvings = halvings_of(shape)
    last = shape[1] * shape[2] >> 2 * halvings
    return halvings + (last > 1)


def _affine(net: caudal.nets.ResidualConvNet, channels: int, keep: Tensor) -> caudal.Bijection:
    """The coupling z = x exp(s) + t with s = gain tanh(raw)."""
    unbounded = caudal.elementwise.Affine(bound=float("inf"))  # tanh is the bound
    scaled = caudal.nets.BoundedScale(net, channels)
    return caudal.Inverse(caudal.bijections.Coupling(scaled, unbounded, keep))
