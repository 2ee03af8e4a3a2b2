"""Glow: steps of ActNorm, 1x1 convolution and coupling, at several scales."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from caudal.base import Normal
from caudal.bijection import Bijection, Inverse
from caudal.bijections import ActNorm, Conv1x1, Coupling, LUConv1x1
from caudal.elementwise import Affine, Elementwise, GatedAffine, Shift
from caudal.flow import Flow
from caudal.nets import ContextMaps, ConvNet, ZeroConv
from caudal.recipes.multiscale import MOST_SCALES, check_halvings, halvings_of, multiscale
from caudal.recipes.recipe import Recipe, Shape


@dataclass(frozen=True)
class Glow(Recipe):
    """Invertible 1x1 convolutions between couplings; half of the channels leaves at each scale.

    The factored half is Gaussian given the other half, and what the last scale leaves is Gaussian
    with learned moments, which depend on the class if the flow is conditioned on one; so do the
    nets of the steps. The paper's sizes are the presets; the defaults are those a CPU can train.
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

    scales: int | None = None
    """Resolutions; if not given 3, or as often as the size can be halved."""
    layers: int = 8
    """Steps of each scale: an ActNorm, a 1x1 convolution, a coupling."""
    maps: int = 128
    """Feature maps of the nets."""
    coupling: Literal["affine", "gated", "additive"] = "affine"
    """What couplings do: shift and scale by exp(s), shift and scale by a sigmoid, or shift."""
    conv: Literal["plain", "lu"] = "plain"
    """How the 1x1 convolutions keep their matrix: as it is, or as LU factors, never singular."""

    def build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> Flow:
        shape, context = self._image_sizes(event_shape, context_shape)
        mixing = LUConv1x1 if self.conv == "lu" else Conv1x1
        steps = Steps(self.layers, lambda channels: self._coupling(channels, context), mixing)
        bijection = in_scales(self.name, shape, self.scales, steps, context)
        return Flow(bijection, Normal(shape), context_shape=context_shape)

    def _coupling(self, channels: int, context: int) -> Bijection:
        moves = _MOVES[self.coupling]
        keep = first_half(channels)
        kept = int(keep.sum())
        net = ConvNet(kept, channels - kept, moves.n_params, self.maps, context)
        coupling = Coupling(net, moves, keep)
        # The net tells scale and shift from data to noise, as in the paper: z = x exp(s) + t.
        return Inverse(coupling) if self.coupling == "affine" else coupling


_MOVES: dict[str, Elementwise] = {
    # Within (1/e, e) dozens of scales do not multiply to what blows an unusual image up.
    "affine": Affine(bound=1.0),
    "gated": GatedAffine(),
    "additive": Shift(),
}


class Steps(NamedTuple):
    """What the steps of a scale are: how many, and their layers for a number of channels."""

    layers: int
    coupling: Callable[[int], Bijection]
    mixing: Callable[[int], Bijection]

    def build(self, channels: int) -> list[Bijection]:
        """From the noise to the data: the paper's step, from the data to the noise, reversed."""
        parts: list[Bijection] = []
        for _ in range(self.layers):
            norm = ActNorm((channels, 1, 1))
            parts += [self.coupling(channels), self.mixing(channels), norm]
        return parts


def in_scales(
    name: str,
    shape: Shape,
    scales: int | None,
    steps: Steps,
    context: int,
    factor_out: bool = True,
) -> Bijection:
    """Glow's architecture around any couplings.

    Raises:
        ValueError: images of that shape cannot be halved so often; says which could.
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
    return torch.arange(channels) < channels // 2


def split_prior(channels: int) -> Bijection:
    """The factored half as Gaussian given the other: x = z exp(alpha) + mu, by a 3x3 convolution.

    A learned prior of noise that leaves early is an affine coupling.
    """
    keep = first_half(channels)
    kept = int(keep.sum())
    moves = Affine()
    return Coupling(ZeroConv(kept, channels - kept, moves.n_params), moves, keep)


def top_prior(channels: int, context: int) -> Bijection:
    """Gaussians with learned moments for each channel; with context, moments that depend on it."""
    if not context:
        return ActNorm((channels, 1, 1))
    moves = Affine()
    keep = torch.zeros(channels, dtype=torch.bool)
    return Coupling(ContextMaps(channels, moves.n_params, context), moves, keep)
