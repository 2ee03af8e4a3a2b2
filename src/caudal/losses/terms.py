"""Losses of several terms, each of which is logged by itself."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor

from caudal.flow import Flow


class Terms(ABC):
    """The weighted sum of terms, for `fit`, which writes each of them down.

    Attributes:
        weights: of the terms that count; others are only logged.
        latest: the terms of the last call, detached.
        validation: the loss that selects the best weights, if it is another one.
    """

    weights: Mapping[str, float]
    latest: Mapping[str, Tensor]
    validation: "Terms | None" = None

    @abstractmethod
    def terms(self, x: Tensor, context: Tensor | None) -> Mapping[str, Tensor]:
        """The terms of a batch, scalars, by their names."""

    def __call__(self, flow: Flow, x: Tensor, context: Tensor | None = None) -> Tensor:
        found = self.terms(x, context)
        self.latest = {name: value.detach() for name, value in found.items()}
        total = x.new_zeros(())
        for name, weight in self.weights.items():
            total = total + weight * found[name]
        return total
