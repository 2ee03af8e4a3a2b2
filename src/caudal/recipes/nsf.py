"""Neural spline flows, with couplings and autoregressive."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from caudal.base import Normal
from caudal.bijection import Bijection, Chain, Inverse
from caudal.bijections import Autoregressive, LULinear, Permutation
from caudal.elementwise import RationalQuadraticSpline
from caudal.flow import Flow
from caudal.nets import MADE as MADENet  # noqa: N811
from caudal.recipes.recipe import Recipe, parity, residual_coupling


@dataclass(frozen=True)
class SplineRecipe(Recipe):
    """What the two neural spline flows share: steps of permutation, LU linear and spline layer."""

    paper = "Durkan, Bekasov, Murray, Papamakarios, arXiv:1906.04032"
    year = 2019
    scores = "parallel"

    layers: int = 10
    """Steps, each a random permutation, an LU linear map and a spline layer."""
    hidden: int = 256
    """Units of each layer of the residual nets."""
    blocks: int = 2
    """Residual blocks of two layers in each net."""
    bins: int = 8
    """Pieces of each spline."""
    bound: float = 3.0
    """The splines bend within [-bound, bound] and are the identity beyond."""
    dropout: float = 0.0
    """Share of units dropped inside the blocks in training."""

    def build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> Flow:
        features, context = self._sizes(event_shape, context_shape)
        spline = RationalQuadraticSpline(self.bins, self.bound)
        parts: list[Bijection] = [LULinear(features), Permutation(torch.randperm(features))]
        for layer in range(self.layers):
            parts.append(self._layer(spline, features, context, layer))
            parts += [LULinear(features), Permutation(torch.randperm(features))]
        return Flow(Chain(parts), Normal((features,)), context_shape=context_shape)

    @abstractmethod
    def _layer(
        self, spline: RationalQuadraticSpline, features: int, context: int, layer: int
    ) -> Bijection:
        """The spline layer of a step."""

    def _autoregressive(
        self, spline: RationalQuadraticSpline, features: int, context: int
    ) -> Bijection:
        widths = (self.hidden,) * (2 * self.blocks + 1)
        net = MADENet(
            features, spline.n_params, widths, context, residual=True, dropout=self.dropout
        )
        return Autoregressive(net, spline)


@dataclass(frozen=True)
class NSF(SplineRecipe):
    """Rational-quadratic spline couplings, RQ-NSF (C).

    Reference: Neural spline flows (Durkan, Bekasov, Murray, Papamakarios, 2019), arXiv:1906.04032.
    """

    name = "nsf"
    good_for = "sharp densities, fast both ways: the strongest of the coupling flows here"
    samples = "parallel"

    def _layer(
        self, spline: RationalQuadraticSpline, features: int, context: int, layer: int
    ) -> Bijection:
        keep = parity(features, layer)
        return residual_coupling(spline, keep, context, self.hidden, self.blocks, self.dropout)


@dataclass(frozen=True)
class NSFAR(SplineRecipe):
    """Rational-quadratic autoregressive splines, RQ-NSF (AR).

    Reference: Neural spline flows (Durkan, Bekasov, Murray, Papamakarios, 2019), arXiv:1906.04032.
    """

    name = "nsf-ar"
    good_for = "the best densities of tables here; also for a single column"
    samples = "sequential"

    def _layer(
        self, spline: RationalQuadraticSpline, features: int, context: int, layer: int
    ) -> Bijection:
        return self._autoregressive(spline, features, context)


@dataclass(frozen=True)
class NSFIAF(SplineRecipe):
    """Inverse autoregressive splines: RQ-NSF (AR), the directions of its spline layers swapped.

    A student for nsf-ar: one pass a layer for a sample and its density.
    Reference: CaloFlow II (Krause, Shih, 2021), arXiv:2110.11377; the splines are those of
    Neural spline flows (Durkan, Bekasov, Murray, Papamakarios, 2019), arXiv:1906.04032.
    """

    name = "nsf-iaf"
    paper = "Krause, Shih, arXiv:2110.11377"
    year = 2021
    good_for = "a student with splines, distilled from nsf-ar: fast samples"
    scores = "sequential"
    samples = "parallel"

    def _layer(
        self, spline: RationalQuadraticSpline, features: int, context: int, layer: int
    ) -> Bijection:
        return Inverse(self._autoregressive(spline, features, context))
