"""Neural spline flows of images: Glow's architecture with splines in the couplings."""

from collections.abc import Sequence
from dataclasses import dataclass

from caudal.base import Normal
from caudal.bijection import Bijection
from caudal.bijections import Coupling, LUConv1x1
from caudal.elementwise import RationalQuadraticSpline
from caudal.flow import Flow
from caudal.nets import ResidualConvNet
from caudal.recipes.glow import Steps, first_half, in_scales
from caudal.recipes.recipe import Recipe


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
        steps = Steps(self.layers, lambda channels: self._coupling(channels, context), LUConv1x1)
        bijection = in_scales(self.name, shape, self.scales, steps, context, self.factor_out)
        return Flow(bijection, Normal(shape), context_shape=context_shape)

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
