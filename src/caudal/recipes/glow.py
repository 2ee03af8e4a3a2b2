"""Glow: steps of ActNorm, 1x1 convolution and coupling, at several scales."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, NamedTuple

from annotated_types import Ge

import caudal
from caudal.recipes.multiscale import MOST_SCALES, check_halvings, halvings_of, multiscale
from caudal.recipes.recipe import Recipe, Shape

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Glow(Recipe):
    """Invertible 1x1 convolutions between couplings; half of the channels leaves at each scale.

    The factored half is Gaussian given the other half, and the output of the last scale is
    Gaussian with learned moments. With context, these moments and the nets of the steps depend
    on it. The paper's sizes are the presets; the defaults are small enough for a CPU.
    Reference: Glow: generative flow with invertible 1x1 convolutions (Kingma, Dhariwal, 2018),
    arXiv:1807.03039.
    """

    name = "glow"
    paper = "Kingma, Dhariwal, arXiv:1807.03039"
    year = 2018
    good_for = "images: learned mixing of channels between couplings, fast both ways"
    scores = "parallel"
    samples = "parallel"
    images = True
    vectors = False
    pixels = "logit"

    scales: Annotated[int, Ge(1)] | None = None
    """Resolutions; by default 3, or fewer if the size cannot be halved so often."""
    layers: Annotated[int, Ge(0)] = 6
    """Steps of each scale: an ActNorm, a 1x1 convolution, a coupling."""
    maps: Annotated[int, Ge(1)] = 64
    """Feature maps of the nets."""
    coupling: Literal["affine", "gated", "additive"] = "affine"
    """What couplings do: shift and scale by exp(s), shift and scale by a sigmoid, or shift."""
    conv: Literal["plain", "lu"] = "plain"
    """Parameters of the 1x1 convolutions: the matrix itself, or LU factors, never singular."""

    def _build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> caudal.Flow:
        shape, context = self._image_sizes(event_shape, context_shape)
        lu = self.conv == "lu"
        mixing = caudal.bijections.LUConv1x1 if lu else caudal.bijections.Conv1x1
        steps = Steps(self.layers, lambda channels: self._coupling(channels, context), mixing)
        bijection = in_scales(self.name, shape, self.scales, steps, context)
        return caudal.Flow(bijection, caudal.base.Normal(shape), context_shape=context_shape)

    def _coupling(self, channels: int, context: int) -> caudal.Bijection:
        elementwise = self._elementwise()
        keep = first_half(channels)
        kept = int(keep.sum())
        net = caudal.nets.ConvNet(kept, channels - kept, elementwise.n_params, self.maps, context)
        coupling = caudal.bijections.Coupling(net, elementwise, keep)
        # As in the paper, scale and shift map data to noise: z = x exp(s) + t.
        return caudal.Inverse(coupling) if self.coupling == "affine" else coupling

    def _elementwise(self) -> caudal.elementwise.Elementwise:
        if self.coupling == "affine":
            # With scales in (1/e, e), dozens of couplings do not make an unusual image explode.
            return caudal.elementwise.Affine(bound=1.0)
        gated = self.coupling == "gated"
        return caudal.elementwise.GatedAffine() if gated else caudal.elementwise.Shift()


class Steps(NamedTuple):
    """The steps of a scale: how many, and their layers for a number of channels."""

    layers: int
    coupling: Callable[[int], caudal.Bijection]
    mixing: Callable[[int], caudal.Bijection]

    def build(self, channels: int) -> list[caudal.Bijection]:
        """The layers from the noise to the data, the reverse of the paper's order."""
        parts: list[caudal.Bijection] = []
        for _ in range(self.layers):
            norm = caudal.bijections.ActNorm((channels, 1, 1))
            parts += [self.coupling(channels), self.mixing(channels), norm]
        return parts


def in_scales(
    name: str,
    shape: Shape,
    scales: int | None,
    steps: Steps,
    context: int,
    factor_out: bool = True,
) -> caudal.Bijection:
    """Glow's architecture around any couplings.

    Raises:
        ValueError: images of that shape cannot be halved so often; names sizes that can.
    """
    chosen = scales or min(MOST_SCALES, max(1, halvings_of(shape)))
    check_halvings(name, shape, chosen, halvings_of(shape))
    return multiscale(
        shape,
        chosen,
        lambda inner: steps.build(inner[0]),
        lambda inner: [split_prior(inner[0])],
        lambda inner: [top_prior(inner[0], context)],
        factor_out,
    )


def first_half(channels: int) -> Tensor:
    """The mask that keeps the first half of the channels."""
    import torch

    return torch.arange(channels) < channels // 2


def split_prior(channels: int) -> caudal.Bijection:
    """The factored half as Gaussian given the other: x = z exp(alpha) + mu, by a 3x3 convolution.

    A learned prior of the noise that leaves early is an affine coupling.
    """
    keep = first_half(channels)
    kept = int(keep.sum())
    affine = caudal.elementwise.Affine()
    net = caudal.nets.ZeroConv(kept, channels - kept, affine.n_params)
    return caudal.bijections.Coupling(net, affine, keep)


def top_prior(channels: int, context: int) -> caudal.Bijection:
    """Gaussians with learned moments for each channel; with context, moments that depend on it."""
    import torch

    if not context:
        return caudal.bijections.ActNorm((channels, 1, 1))
    affine = caudal.elementwise.Affine()
    net = caudal.nets.ContextMaps(channels, affine.n_params, context)
    return caudal.bijections.Coupling(net, affine, torch.zeros(channels, dtype=torch.bool))
