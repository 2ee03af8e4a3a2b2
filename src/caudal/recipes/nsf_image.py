"""Neural spline flows of images: Glow's architecture with splines in the couplings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge, Gt, Lt

import caudal
from caudal.recipes.glow import Steps, first_half, in_scales
from caudal.recipes.recipe import Recipe, SplineMap, bending


@dataclass(frozen=True)
class NSFImage(Recipe):
    """Steps of ActNorm, 1x1 convolution and a spline coupling steered by a residual net.

    The paper's sizes are the presets; the defaults are small enough for a CPU.
    Reference: Neural spline flows (Durkan, Bekasov, Murray, Papamakarios, 2019), arXiv:1906.04032.
    """

    name = "nsf-image"
    paper = "Durkan, Bekasov, Murray, Papamakarios, arXiv:1906.04032"
    year = 2019
    good_for = "images: splines need fewer parameters than Glow for the same density"
    scores = "parallel"
    samples = "parallel"
    images = True
    vectors = False
    pixels = "white"
    ink = "logit"

    scales: Annotated[int, Ge(1)] | None = None
    """Resolutions; by default 3, or fewer if the size cannot be halved so often."""
    layers: Annotated[int, Ge(0)] = 4
    """Steps of each scale."""
    maps: Annotated[int, Ge(1)] = 48
    """Feature maps of the nets."""
    blocks: Annotated[int, Ge(1)] = 2
    """Residual blocks of each net."""
    bins: Annotated[int, Ge(2)] = 4
    """Pieces of each spline, or sinh conjugations of each number."""
    bound: Annotated[float, Gt(0)] = 3.0
    """The splines bend within [-bound, bound] and are the identity outside."""
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of maps dropped inside the blocks in training."""
    factor_out: bool = True
    """Let half of the channels leave at each scale; otherwise all go on to the next."""
    map: SplineMap = "spline"
    """What bends each number: the paper's splines, or sinh conjugations, which are smooth
    everywhere and bend the whole line."""

    def _build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> caudal.Flow:
        shape, context = self._image_sizes(event_shape, context_shape)
        mixing = caudal.bijections.LUConv1x1
        steps = Steps(self.layers, lambda channels: self._coupling(channels, context), mixing)
        bijection = in_scales(self.name, shape, self.scales, steps, context, self.factor_out)
        return caudal.Flow(bijection, caudal.base.Normal(shape), context_shape=context_shape)

    def _coupling(self, channels: int, context: int) -> caudal.Bijection:
        spline = bending(self)
        keep = first_half(channels)
        kept = int(keep.sum())
        net = caudal.nets.ResidualConvNet(
            kept,
            channels - kept,
            spline.n_params,
            self.maps,
            self.blocks,
            context,
            normalise=False,
            dropout=self.dropout,
        )
        return caudal.bijections.Coupling(net, spline, keep)
