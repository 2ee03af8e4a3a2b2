"""MADE: one autoregressive layer with Gaussian conditionals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import caudal
from caudal.recipes.recipe import Activation, Recipe, Widths


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

    hidden: Widths = (512, 512)
    """Units of each hidden layer."""
    activation: Activation = "relu"
    """Activation of the hidden layers."""
    direct: bool = False
    """Connect inputs to outputs directly as well."""

    def build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> caudal.Flow:
        features, context = self._sizes(event_shape, context_shape)
        elementwise = caudal.elementwise.Affine()
        net = caudal.nets.MADE(
            features,
            elementwise.n_params,
            self.hidden,
            context,
            self.activation,
            direct=self.direct,
        )
        layer = caudal.bijections.Autoregressive(net, elementwise)
        return caudal.Flow(layer, caudal.base.Normal((features,)), context_shape=context_shape)
