"""IAF: MAF with its directions swapped, so that sampling is the fast one."""

from collections.abc import Sequence
from dataclasses import dataclass

from caudal.base import Normal
from caudal.bijection import Bijection, Chain, Inverse
from caudal.bijections import Autoregressive, Flip
from caudal.elementwise import Affine
from caudal.flow import Flow
from caudal.nets import MADE as MADENet  # noqa: N811
from caudal.recipes.recipe import Recipe


@dataclass(frozen=True)
class IAF(Recipe):
    """Inverse autoregressive layers: a sample and its density in one pass.

    The density of a point from elsewhere goes one column at a time, and so does training by
    maximum likelihood; IAF is at home as a student, or wherever only its own samples are scored.
    Reference: Improving variational inference with inverse autoregressive flow (Kingma et al.,
    2016), arXiv:1606.04934.
    """

    name = "iaf"
    paper = "Kingma et al., arXiv:1606.04934"
    year = 2016
    good_for = "fast samples with their densities: variational inference, distillation"
    scores = "sequential"
    samples = "parallel"

    layers: int = 5
    """Inverse autoregressive layers."""
    hidden: tuple[int, ...] = (512, 512)
    """Units of each hidden layer of each net."""
    activation: str = "relu"
    """relu, tanh, elu, silu or gelu."""

    def build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> Flow:
        features, context = self._sizes(event_shape, context_shape)
        elementwise = Affine()
        parts: list[Bijection] = []
        for layer in range(self.layers):
            net = MADENet(features, elementwise.n_params, self.hidden, context, self.activation)
            parts += [Flip()] if layer else []
            parts.append(Inverse(Autoregressive(net, elementwise)))
        return Flow(Chain(parts), Normal((features,)), context_shape=context_shape)
