"""The likelihood of data and its units, and losses of several terms."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

from torch import Tensor

from caudal.flow import Flow


def nll(flow: Flow, x: Tensor, context: Tensor | None = None) -> Tensor:
    """Mean negative log-likelihood of a batch in nats; for dequantised data, that of its bound."""
    return -flow.log_prob(x, context).mean()


def nll_per_element(flow: Flow, x: Tensor, context: Tensor | None = None) -> Tensor:
    """`nll` divided by the elements of an event: for sound, whose crops can have any length."""
    return nll(flow, x, context) / x[0].numel()


def bits_per_dim(log_prob: float, elements: int) -> float:
    """Bits per element: -log_prob / (elements ln 2), for log_prob in nats of a whole event."""
    return -log_prob / (elements * math.log(2))


class Terms(ABC):
    """A weighted sum of terms; `fit` logs each of them.

    Attributes:
        weights: the weights of the terms in the sum; other terms are only logged.
        latest: the terms of the last call, detached.
        validation: the loss that selects the best weights, if it is another one.
    """

    weights: Mapping[str, float]
    latest: Mapping[str, Tensor]
    validation: "Terms | None" = None

    @abstractmethod
    def terms(self, x: Tensor, context: Tensor | None) -> Mapping[str, Tensor]:
        """The terms of a batch, scalars, by name."""

    def __call__(self, flow: Flow, x: Tensor, context: Tensor | None = None) -> Tensor:
        terms = self.terms(x, context)
        self.latest = {name: value.detach() for name, value in terms.items()}
        total = x.new_zeros(())
        for name, weight in self.weights.items():
            total = total + weight * terms[name]
        return total
