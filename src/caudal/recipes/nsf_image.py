"""Neural spline flows of images: Glow's architecture with splines in the couplings."""

from collections.abc import Sequence
from dataclasses import dataclass

from caudal.base import Normal
from caudal.bijection import Bijection
from caudal.bijections import ActNorm, Coupling, LUConv1x1
from caudal.elementwise import RationalQuadraticSpline
from caudal.flow import Flow
from caudal.nets import ResidualConvNet
from caudal.recipes.glow import first_half, split_prior, top_prior
from caudal.recipes.multiscale import MOST_SCALES, check_halvings, halvings_of, multiscale
from caudal.recipes.recipe import Recipe, Shape


@dataclass(frozen=True)
class NSFImage(Recipe):
    """Steps of ActNorm, 1x1 convolution and a spline coupling steered by a residual net.

    The paper's sizes are the presets; the defaults are those a CPU can train.
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
    pixels = "logit"

    scales: int | None = None
    """Resolutions; if not given 3, or as often as the size can be halved."""
    layers: int = 4
    """Steps of each scale."""
    maps: int = 48
    """Feature maps of the nets."""
    blocks: int = 2
    """Residual blocks of each net."""
    bins: int = 4
    """Pieces of each spline."""
    bound: float = 3.0
    """The splines bend within [-bound, bound] and are the identity beyond."""
    dropout: float = 0.0
    """Share of maps dropped inside the blocks in training."""
    factor_out: bool = True
    """Let half of the channels leave at each scale; else all go on to the next."""

    def build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> Flow:
        shape, context = self._image_sizes(event_shape, context_shape)
        scales = self.scales or min(MOST_SCALES, max(1, halvings_of(shape)))
        check_halvings(self.name, shape, scales, halvings_of(shape))
        bijection = multiscale(
            shape,
            scales,
            lambda inner: self._steps(inner, context),
            lambda inner: [split_prior(inner[0])],
            lambda inner: [top_prior(inner[0], context)],
            self.factor_out,
        )
        return Flow(bijection, Normal(shape), context_shape=context_shape)

    def _steps(self, shape: Shape, context: int) -> list[Bijection]:
        channels = shape[0]
        parts: list[Bijection] = []
        for _ in range(self.layers):
            parts.append(self._coupling(channels, context))
            parts += [LUConv1x1(channels), ActNorm((channels, 1, 1))]
        return parts

    def _coupling(self, channels: int, context: int) -> Bijection:
        spline = RationalQuadraticSpline(self.bins, self.bound)
        keep = first_half(channels)
        kept = int(keep.sum())
        net = ResidualConvNet(
            kept,
            channels - kept,
            spline.n_params,
            self.maps,
            self.blocks,
            context,
            normalise=False,
            dropout=self.dropout,
        )
        return Coupling(net, spline, keep)
