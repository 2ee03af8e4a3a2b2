"""NICE: additive couplings and a rescaling."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from caudal.base import Logistic, Normal
from caudal.bijection import Bijection, Chain
from caudal.bijections import ZCA, Scale
from caudal.elementwise import Shift
from caudal.flow import Flow
from caudal.recipes.recipe import Recipe, mlp_coupling, parity


@dataclass(frozen=True)
class NICE(Recipe):
    """Additive couplings on alternating columns, then one learned scale a dimension.

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
    pixels = "unit"

    layers: int = 4
    """Couplings; fewer than 3 leave some columns unmixed."""
    hidden: tuple[int, ...] = (1000, 1000, 1000, 1000, 1000)
    """Units of each hidden layer."""
    activation: str = "relu"
    """relu, tanh, elu, silu or gelu."""
    prior: Literal["logistic", "normal"] = "logistic"
    """Density of the noise."""
    whiten: bool = False
    """Begin with ZCA whitening, as its CIFAR-10 and SVHN models do: a fixed D x D matrix."""

    def build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> Flow:
        features, context = self._sizes(event_shape, context_shape)
        parts: list[Bijection] = [Scale((features,))]
        for layer in range(self.layers):
            keep = parity(features, layer)
            parts.append(mlp_coupling(Shift(), keep, context, self.hidden, self.activation))
        parts += [ZCA(features)] if self.whiten else []
        base = Logistic if self.prior == "logistic" else Normal
        return Flow(Chain(parts), base((features,)), context_shape=context_shape)
