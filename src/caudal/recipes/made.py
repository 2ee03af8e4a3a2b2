"""MADE: one autoregressive layer with Gaussian conditionals."""

from collections.abc import Sequence
from dataclasses import dataclass

from caudal.base import Normal
from caudal.bijections import Autoregressive
from caudal.elementwise import Affine
from caudal.flow import Flow
from caudal.nets import MADE as MADENet  # noqa: N811
from caudal.recipes.recipe import Recipe


@dataclass(frozen=True)
class MADE(Recipe):
    """Gaussian conditionals p(x_d | x_<d) from one masked net.

    Reference: MADE: masked autoencoder for distribution estimation (Germain, Gregor, Murray,
    Larochelle, 2015), arXiv:1502.03509.
    """

    name = "made"
    paper = "Germain, Gregor, Murray, Larochelle, arXiv:1502.03509"
    year = 2015
    good_for = "a small autoregressive baseline; the building block of MAF and IAF"
    scores = "parallel"
    samples = "sequential"

    hidden: tuple[int, ...] = (512, 512)
    """Units of each hidden layer."""
    activation: str = "relu"
    """relu, tanh, elu, silu or gelu."""
    direct: bool = False
    """Connect inputs to outputs directly as well."""

    def build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> Flow:
        features, context = self._sizes(event_shape, context_shape)
        elementwise = Affine()
        net = MADENet(
            features,
            elementwise.n_params,
            self.hidden,
            context,
            self.activation,
            direct=self.direct,
        )
        layer = Autoregressive(net, elementwise)
        return Flow(layer, Normal((features,)), context_shape=context_shape)
