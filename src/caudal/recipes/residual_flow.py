"""Residual Flow: i-ResNet whose log-det is estimated without bias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from annotated_types import Ge, Gt, Lt

import caudal
from caudal.recipes.iresnet import ResidualRecipe
from caudal.recipes.recipe import Shape

if TYPE_CHECKING:
    from caudal.numerics import Series

_DENSE = 128  # units of the fully connected blocks


@dataclass(frozen=True)
class ResidualFlow(ResidualRecipe):
    """z = x + g(x) with Lip(g) < 1; the log-det by a series of random length: Russian roulette.

    The second derivative of ELU vanishes in places, so that log-dets cannot learn there; that of
    LipSwish does not. Evaluation uses the determinant itself for events of up to 64 elements; for
    larger ones scores are unbiased and have a standard error.
    Reference: Residual flows for invertible generative modeling (Chen, Behrmann, Duvenaud,
    Jacobsen, 2019), arXiv:1906.02735.
    """

    name = "residual-flow"
    paper = "Chen, Behrmann, Duvenaud, Jacobsen, arXiv:1906.02735"
    year = 2019
    good_for = "free-form layers, of tables and images, trained without bias"

    coefficient: Annotated[float, Gt(0), Lt(1)] = 0.98
    """Largest norm of each layer, below 1."""
    activation: Literal["elu", "lipswish"] = "lipswish"
    """Activation of the hidden layers."""
    terms: Annotated[int, Ge(1)] = 2
    """Terms of the log-det's series that training always takes; how many more is random."""
    law: Literal["geometric", "poisson"] = "geometric"
    """Distribution of the number of further terms; the paper's code has poisson."""
    dense: Annotated[int, Ge(0)] = 4
    """Images: fully connected blocks after the last scale."""

    @property
    def _series(self) -> tuple[Series, Series]:
        roulette = caudal.numerics.Roulette
        return roulette(self.terms, law=self.law), roulette(self.evaluation_terms, law=self.law)

    def _end(self, shape: Shape, context: int) -> caudal.Bijection:
        channels, height, width = shape
        features = channels * height * width
        parts: list[caudal.Bijection] = [caudal.bijections.ActNorm((features,))]
        for _ in range(self.dense):
            parts.append(self._vector_block(features, (_DENSE, _DENSE), context))
        return caudal.bijections.Flattened(caudal.Chain(parts), shape)
