"""Real-NVP for vectors: affine couplings and batch normalisation."""

from collections.abc import Sequence
from dataclasses import dataclass

from caudal.base import Normal
from caudal.bijection import Bijection, Chain, Inverse
from caudal.bijections import BatchNorm
from caudal.elementwise import Affine
from caudal.flow import Flow
from caudal.recipes.recipe import Recipe, mlp_coupling, parity


@dataclass(frozen=True)
class RealNVP(Recipe):
    """Affine couplings on alternating columns, each followed by a batch normalisation.

    As in its paper, the nets tell scale and shift from data to noise: z = x exp(s) + t.
    Reference: Density estimation using Real NVP (Dinh, Sohl-Dickstein, Bengio, 2017),
    arXiv:1605.08803; in the fully connected form of the MAF paper (arXiv:1705.07057).
    """

    name = "realnvp"
    paper = "Dinh, Sohl-Dickstein, Bengio, arXiv:1605.08803"
    year = 2017
    good_for = "fast both ways; exports well; a default where samples are needed in bulk"
    scores = "parallel"
    samples = "parallel"

    layers: int = 5
    """Couplings."""
    hidden: tuple[int, ...] = (512, 512)
    """Units of each hidden layer."""
    activation: str = "relu"
    """relu, tanh, elu, silu or gelu."""
    batch_norm: bool = True
    """Batch normalisation after each coupling."""

    def build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> Flow:
        features, context = self._sizes(event_shape, context_shape)
        parts: list[Bijection] = []
        for layer in range(self.layers):
            if self.batch_norm:
                parts.append(BatchNorm((features,)))
            keep = parity(features, layer)
            coupling = mlp_coupling(Affine(), keep, context, self.hidden, self.activation)
            parts.append(Inverse(coupling))  # the paper's z = x exp(s) + t; also trains better
        return Flow(Chain(parts), Normal((features,)), context_shape=context_shape)
