"""log|det(I + J)|, J the Jacobian of a contraction: exact, or estimated from its power series."""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from caudal.numerics.noise import RowNoise, signs, uniform
from caudal.numerics.randomness import is_exporting
from caudal.scope import scoped

_GENERATOR: ContextVar[torch.Generator | None] = ContextVar("generator", default=None)
_WANTED: ContextVar[bool] = ContextVar("wanted", default=True)
Law = Literal["geometric", "poisson"]
Weight = float | Tensor


def drawing(generator: torch.Generator) -> AbstractContextManager[None]:
    """Within this context, estimates in evaluation mode draw from `generator`, anew for each row.

    Outside of it they use the same random numbers each time, so that repeated scores are equal.
    """
    return scoped(_GENERATOR, generator)


def generator_in_use() -> torch.Generator | None:
    """The generator of the innermost `drawing` context, None outside of any."""
    return _GENERATOR.get()


def drawing_part(rows: slice) -> AbstractContextManager[None]:
    """Within this context, estimates are those of some rows of the batch alone."""
    generator = generator_in_use()
    if isinstance(generator, RowNoise):
        return drawing(generator.part(rows))
    return nullcontext()


def values_alone() -> AbstractContextManager[None]:
    """Within this context, bijections may return zeros in place of expensive log-dets."""
    return scoped(_WANTED, False)


def log_dets_wanted() -> bool:
    """Whether log-dets are needed: not within `values_alone`."""
    return _WANTED.get()


class Series(ABC):
    """The terms of log det(I + J) = sum_k (-1)^(k+1) tr(J^k) / k to sum, and their weights."""

    kind: ClassVar[str]
    """The kind of such an estimate: "biased" or "unbiased"."""

    @abstractmethod
    def weights(self, rows: int, generator: torch.Generator | None) -> list[Weight]:
        """The weight of each term, from the first on.

        A weight is a number if it is the same for all rows. Otherwise it is (rows,), drawn for
        each row by itself, so that errors average out over rows.
        """

    @abstractmethod
    def bias_bound(self, lipschitz: float) -> float:
        """The largest possible bias of the sum, in nats a dimension, if all |J| <= lipschitz."""


@dataclass(frozen=True)
class Truncated(Series):
    """The first `terms` alone: i-ResNet's estimate, biased.

    Reference: Invertible residual networks (Behrmann, Grathwohl, Chen, Duvenaud, Jacobsen, 2019),
    arXiv:1811.00995.
    """

    kind = "biased"
    terms: int

    def __post_init__(self) -> None:
        _check_terms(self.terms)

    def weights(self, rows: int, generator: torch.Generator | None) -> list[Weight]:
        return [1.0] * self.terms

    def bias_bound(self, lipschitz: float) -> float:
        if lipschitz >= 1:
            return math.inf
        kept = sum(lipschitz**k / k for k in range(1, self.terms + 1))
        return -math.log1p(-lipschitz) - kept


@dataclass(frozen=True)
class Roulette(Series):
    """The first `terms` and N more, each divided by the probability that it is reached: unbiased.

    N has mean `mean` and is geometric or Poisson. The probability that a Poisson number reaches k
    falls like 1/k!, and rare long sums have huge weights; that of a geometric one like a power.
    Reference: Residual flows for invertible generative modeling (Chen, Behrmann, Duvenaud,
    Jacobsen, 2019), arXiv:1906.02735.
    """

    kind = "unbiased"
    terms: int
    mean: float = 2.0
    law: Law = "geometric"

    def __post_init__(self) -> None:
        _check_terms(self.terms)
        if not 0 < self.mean < math.inf:
            raise ValueError(f"`mean` must be a positive number, got {self.mean}")
        if self.law not in get_args(Law):
            raise ValueError(f"`law` must be one of {', '.join(get_args(Law))}, got {self.law!r}")

    def weights(self, rows: int, generator: torch.Generator | None) -> list[Weight]:
        device = None if generator is None else generator.device
        # Uniform on (0, 1]: a 0 would reach any number of terms.
        drawn = 1 - uniform(torch.empty(rows, device=device), generator)
        weights: list[Weight] = [1.0] * self.terms
        for j in itertools.count(1):
            chance = self._reaches(j)
            # N >= j exactly where the uniform number is at most the probability of that.
            reached = drawn <= chance
            if not reached.any():
                break
            weights.append(1 / chance if rows == 1 else reached / chance)
        return weights

    def bias_bound(self, lipschitz: float) -> float:
        return 0.0

    def _reaches(self, j: int) -> float:
        """The probability of N >= j."""
        if self.law == "geometric":
            return (self.mean / (1 + self.mean)) ** j
        logs = (k * math.log(self.mean) - math.lgamma(k + 1) for k in range(j))
        return max(0.0, 1 - sum(math.exp(log - self.mean) for log in logs))


Push = Callable[[Tensor], Tensor]
"""v to J v for k vectors at each of B points, (k, B, *event), or the same k vectors at all points,
(k, 1, *event); the result is (k, B, *event) either way."""

_ROWS, _ROWS_ON_CPU = 1 << 16, 1 << 12
"""Vectors pushed at once, roughly: with more, the values between layers leave the caches."""


def exact(push: Push, like: Tensor) -> Tensor:
    """The log-determinant itself, (B,), from as many products as the event has elements.

    Args:
        push: products with J.
        like: a batch of B events (B, *event).
    """
    rows, elements = like.shape[0], math.prod(like.shape[1:])
    basis = torch.eye(elements, dtype=like.dtype, device=like.device)
    vectors = basis.view(elements, 1, *like.shape[1:])
    most = _ROWS_ON_CPU if like.device.type == "cpu" else _ROWS
    pieces = (vectors,) if is_exporting() else vectors.split(max(1, most // max(rows, 1)))
    jacobian = torch.cat([push(piece).flatten(2) for piece in pieces]).permute(1, 2, 0)
    if elements == 2:  # in closed form: LAPACK takes ten times as long
        (a, b), (c, d) = (row.unbind(1) for row in jacobian.unbind(1))
        return torch.log1p(a + d + a * d - b * c)
    return torch.linalg.slogdet(jacobian + basis).logabsdet


def estimate(push: Push, weights: Sequence[Weight], probe: Tensor) -> Tensor:
    """The series with Hutchinson's estimate of traces, tr A = E v^T A v: (B,).

    With w_k = J^k v the value is sum_k (-1)^(k+1) a_k v . w_k / k. Its gradient is that of
    v^T J u with u = sum_k (-1)^k a_(k+1) w_k held fixed, the Neumann series of (I + J)^-1. Both
    have the right expectation. Only one product with J is differentiated, so that memory does not
    grow with the number of terms.

    Args:
        push: products with J.
        weights: a_1, a_2, ..., numbers or (B,) (see `Series`).
        probe: v (B, *event), with independent elements of mean 0 and variance 1.
    """
    with torch.no_grad():
        total, pushed, neumann = probe.new_zeros(len(probe)), probe, torch.zeros_like(probe)
        for k, weight in enumerate(weights, start=1):
            signed = -weight if k % 2 == 0 else weight
            neumann = neumann + _like(signed, probe) * pushed
            pushed = push(pushed[None])[0]
            total = total + _like(signed, total) / k * _dot(pushed, probe)
    if not torch.is_grad_enabled():
        return total
    product = _dot(push(neumann[None])[0], probe)
    return total + (product - product.detach())


def rademacher(like: Tensor, rows: int, generator: torch.Generator | None = None) -> Tensor:
    """Random signs, +1 or -1, for events shaped as those of `like` (B, *event): (rows, *event)."""
    return signs(like if rows == len(like) else like.new_empty(rows, *like.shape[1:]), generator)


def _check_terms(terms: int) -> None:
    if terms < 0:
        raise ValueError(f"`terms` must be at least 0, got {terms}")


def _like(weight: Weight, x: Tensor) -> Weight:
    """Reshapes a weight so that it broadcasts with x (B, ...)."""
    if isinstance(weight, float):
        return weight
    return weight.to(x).view(-1, *[1] * (x.ndim - 1))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1)
