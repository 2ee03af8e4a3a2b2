"""IAF: MAF with its directions swapped, so that sampling is the fast one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from annotated_types import Ge

import caudal
from caudal.recipes.recipe import Activation, Recipe, Widths


@dataclass(frozen=True)
class IAF(Recipe):
    """Inverse autoregressive layers: a sample and its density in one pass.

    The density of other points is computed one column at a time, and so training by maximum
    likelihood is slow. IAF is useful as a student, or where only its own samples are scored.
    Reference: Improving variational inference with inverse autoregressive flow (Kingma et al.,
    2016), arXiv:1606.04934.
    """

    name = "iaf"
    paper = "Kingma et al., arXiv:1606.04934"
    year = 2016
    good_for = "fast samples with their densities: variational inference, distillation"
    scores = "sequential"
    samples = "parallel"

    layers: Annotated[int, Ge(0)] = 5
    """Inverse autoregressive layers."""
    hidden: Widths = (512, 512)
    """Units of each hidden layer of each net."""
    activation: Activation = "relu"
    """Activation of the hidden layers."""

    def build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> caudal.Flow:
        features, context = self._sizes(event_shape, context_shape)
        affine = caudal.elementwise.Affine()
        parts: list[caudal.Bijection] = []
        for layer in range(self.layers):
            net = caudal.nets.MADE(
                features, affine.n_params, self.hidden, context, self.activation
            )
            parts += [caudal.bijections.Flip()] if layer else []
            parts.append(caudal.Inverse(caudal.bijections.Autoregressive(net, affine)))
        base = caudal.base.Normal((features,))
        return caudal.Flow(caudal.Chain(parts), base, context_shape=context_shape)
