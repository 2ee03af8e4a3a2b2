"""Residual Flow: i-ResNet whose log-det is estimated without bias."""

from dataclasses import dataclass
from typing import Literal

from caudal.bijection import Bijection, Chain
from caudal.bijections import ActNorm, Flattened
from caudal.numerics import Law, Roulette, Series
from caudal.recipes.iresnet import ResidualRecipe
from caudal.recipes.recipe import Shape

_DENSE = 128  # units of the fully connected blocks


@dataclass(frozen=True)
class ResidualFlow(ResidualRecipe):
    """z = x + g(x) with Lip(g) < 1; the log-det by a series of random length: Russian roulette.

    LipSwish lets log-dets learn where ELU's second derivative vanishes. Evaluation takes the
    determinant itself in events of up to 64 elements; in larger ones scores are unbiased and have
    a standard error.
    Reference: Residual flows for invertible generative modeling (Chen, Behrmann, Duvenaud,
    Jacobsen, 2019), arXiv:1906.02735.
    """

    name = "residual-flow"
    paper = "Chen, Behrmann, Duvenaud, Jacobsen, arXiv:1906.02735"
    year = 2019
    good_for = "free-form layers, of tables and images, trained without bias"

    coefficient: float = 0.98
    """Norm of each layer at most, below 1."""
    activation: Literal["elu", "lipswish"] = "lipswish"
    """elu or lipswish."""
    terms: int = 2
    """Terms of the log-det's series in training before chance decides about more."""
    law: Law = "geometric"
    """The law of how many more: geometric, or poisson as in the paper's code."""
    dense: int = 4
    """Images: fully connected blocks after the last scale."""

    @property
    def _series(self) -> tuple[Series, Series]:
        return Roulette(self.terms, law=self.law), Roulette(self.evaluation_terms, law=self.law)

    def _end(self, shape: Shape, context: int) -> Bijection:
        channels, height, width = shape
        features = channels * height * width
        parts: list[Bijection] = [ActNorm((features,))]
        for _ in range(self.dense):
            parts += [self._vector_block(features, (_DENSE, _DENSE), context)]
        return Flattened(Chain(parts), shape)
