"""NICE: additive couplings and a rescaling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge

import caudal
from caudal.recipes.recipe import Activation, Recipe, Widths, mlp_coupling, parity


@dataclass(frozen=True)
class NICE(Recipe):
    """Additive couplings on alternating columns, then one learned scale for each dimension.

    Images are taken as vectors, pixel after pixel, as in the paper.
    Reference: NICE: non-linear independent components estimation (Dinh, Krueger, Bengio, 2014),
    arXiv:1410.8516. Defaults: its MNIST model.
    """

    name = "nice"
    paper = "Dinh, Krueger, Bengio, arXiv:1410.8516"
    year = 2014
    good_for = "the simplest flow; fast both ways; a first baseline"
    scores = "parallel"
    samples = "parallel"
    pixels = "white"

    layers: Annotated[int, Ge(0)] = 4
    """Couplings; fewer than 3 leave some columns unmixed."""
    hidden: Widths = (1000, 1000, 1000, 1000, 1000)
    """Units of each hidden layer."""
    activation: Activation = "relu"
    """Activation of the hidden layers."""
    prior: Literal["logistic", "normal"] = "logistic"
    """Density of the noise; on tables it is normal, as their copula is."""
    whiten: bool = False
    """Begin with ZCA whitening, as its CIFAR-10 and SVHN models do: a fixed D x D matrix; pixels
    are then not whitened besides."""

    def _build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> caudal.Flow:
        features, context = self._sizes(event_shape, context_shape)
        logistic = self.prior == "logistic"
        scale = caudal.bijections.Scale((features,))
        if logistic:  # begins at the deviation of the noise, pi / sqrt(3), for data of deviation 1
            scale.log_scale.data.fill_(math.log(math.pi / math.sqrt(3)))
        parts: list[caudal.Bijection] = [scale]
        for layer in range(self.layers):
            shift, keep = caudal.elementwise.Shift(), parity(features, layer)
            parts.append(mlp_coupling(shift, keep, context, self.hidden, self.activation))
        parts += [caudal.bijections.ZCA(features)] if self.whiten else []
        base = caudal.base.Logistic((features,)) if logistic else caudal.base.Normal((features,))
        return caudal.Flow(caudal.Chain(parts), base, context_shape=context_shape)
