"""Neural spline flows, with couplings and autoregressive."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from annotated_types import Ge, Gt, Lt

import caudal
from caudal.recipes.recipe import Recipe, SplineMap, bending, parity, residual_coupling

if TYPE_CHECKING:
    from caudal.elementwise import Elementwise


@dataclass(frozen=True)
class SplineRecipe(Recipe):
    """What the neural spline flows share: LU linear maps, permutations and spline layers.

    The defaults are of a size that learns most in the first minutes of a CPU; the paper's, twenty
    times as large, are the preset `power`.
    """

    paper = "Durkan, Bekasov, Murray, Papamakarios, arXiv:1906.04032"
    year = 2019
    scores = "parallel"
    pixels = "white"

    _turn: ClassVar[int] = 1
    """How many spline layers it takes to move every column, and then columns are permuted."""

    layers: Annotated[int, Ge(0)] = 5
    """Steps, each an LU linear map and a spline layer, with random permutations between them."""
    hidden: Annotated[int, Ge(1)] = 64
    """Units of each layer of the residual nets."""
    blocks: Annotated[int, Ge(1)] = 2
    """Residual blocks of two layers in each net."""
    bins: Annotated[int, Ge(2)] = 8
    """Pieces of each spline, or sinh conjugations of each number."""
    bound: Annotated[float, Gt(0)] = 3.0
    """The splines bend within [-bound, bound] and are the identity outside."""
    dropout: Annotated[float, Ge(0), Lt(1)] = 0.0
    """Share of units dropped inside the blocks in training."""
    linear: bool = True
    """Whether each step has an LU linear map: two weights for each pair of columns."""
    map: SplineMap = "spline"
    """What bends each number: the paper's splines, or sinh conjugations, which are smooth
    everywhere and bend the whole line."""

    def _build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> caudal.Flow:
        features, context = self._sizes(event_shape, context_shape)
        spline = bending(self)
        parts = self._mixing(features)
        for layer in range(self.layers):
            parts.append(self._layer(spline, features, context, layer))
            parts += self._mixing(features, permuted=layer % self._turn == self._turn - 1)
        base = caudal.base.Normal((features,))
        return caudal.Flow(caudal.Chain(parts), base, context_shape=context_shape)

    def angles(self, n: int, context: int) -> caudal.Bijection:
        return self._angles(n, context)

    def _angles(self, n: int, context: int, autoregressive: bool = False) -> caudal.Bijection:
        from caudal.recipes.circles import angles

        return angles(
            n,
            context,
            layers=self.layers,
            hidden=self.hidden,
            blocks=self.blocks,
            bins=self.bins,
            dropout=self.dropout,
            autoregressive=autoregressive,
        )

    def _mixing(self, features: int, permuted: bool = True) -> list[caudal.Bijection]:
        """An LU linear map, if there are such, and a random permutation."""
        import torch

        linear = [caudal.bijections.LULinear(features)] if self.linear else []
        order = torch.randperm(features) if permuted else torch.arange(features)
        return [*linear, caudal.bijections.Permutation(order)]

    @abstractmethod
    def _layer(
        self, spline: Elementwise, features: int, context: int, layer: int
    ) -> caudal.Bijection:
        """The spline layer of a step."""

    def _autoregressive(
        self, spline: Elementwise, features: int, context: int
    ) -> caudal.Bijection:
        widths = (self.hidden,) * (2 * self.blocks + 1)
        net = caudal.nets.MADE(
            features, spline.n_params, widths, context, residual=True, dropout=self.dropout
        )
        return caudal.bijections.Autoregressive(net, spline)


@dataclass(frozen=True)
class NSF(SplineRecipe):
    """Rational-quadratic spline couplings, RQ-NSF (C).

    Columns are permuted after every second coupling, as two with opposite masks move each column
    once: a permutation in between could undo the change of masks.
    Reference: Neural spline flows (Durkan, Bekasov, Murray, Papamakarios, 2019), arXiv:1906.04032.
    """

    name = "nsf"
    good_for = "sharp densities, fast both ways: the strongest of the coupling flows here"
    samples = "parallel"
    _turn = 2

    def _layer(
        self, spline: Elementwise, features: int, context: int, layer: int
    ) -> caudal.Bijection:
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

    def angles(self, n: int, context: int) -> caudal.Bijection:
        return self._angles(n, context, autoregressive=True)

    def _layer(
        self, spline: Elementwise, features: int, context: int, layer: int
    ) -> caudal.Bijection:
        return self._autoregressive(spline, features, context)


@dataclass(frozen=True)
class NSFIAF(SplineRecipe):
    """Inverse autoregressive splines: RQ-NSF (AR) with the directions of its layers swapped.

    It is a student for nsf-ar: a sample and its density take one pass through each layer.
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
        self, spline: Elementwise, features: int, context: int, layer: int
    ) -> caudal.Bijection:
        return caudal.Inverse(self._autoregressive(spline, features, context))
