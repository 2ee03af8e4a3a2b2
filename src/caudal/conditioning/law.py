"""The Gaussian of a flow's own samples, from which candidates are drawn."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from caudal.base import Normal
from caudal.bijection import Chain
from caudal.bijections import Correlate
from caudal.dequantization import TableDequantization
from caudal.flow import Flow

_FITTED_ROWS = 4096
_RIDGE = 1e-4  # share of the variances, added: two given columns may say the same


def fitted_law(
    flow: Flow,
    context: Tensor | None,
    n: int,
    generator: torch.Generator | None,
    beside: Callable[[Tensor], Tensor],
) -> tuple[Flow, Tensor]:
    """The Gaussian of a flow's own samples, linear in the embedded context, and its covariance.

    Args:
        flow: of vectors v (B, D).
        context: n rows, which the samples take in turn, or None.
        n: the number of rows.
        generator: for the samples.
        beside: gives further numbers (B, K) of each sample, which the Gaussian is of too.
    """
    rows = max(_FITTED_ROWS, 8 * flow.base.event_shape[0])
    if context is not None:
        context = context[torch.arange(rows, device=context.device) % n]
    embedded = flow.embed_linear(context)
    samples = flow.sample(rows, context, generator=generator)
    samples = torch.cat([samples, beside(samples)], 1)
    features = samples.shape[1]
    linear = Correlate(features, 0 if embedded is None else embedded.shape[1])
    linear = linear.to(flow.base.like)
    linear.observe(samples, embedded)
    shape = None if embedded is None else embedded.shape[1:]
    law = Flow(linear, Normal((features,)).to(flow.base.like), context_shape=shape)
    return law, linear.factor @ linear.factor.T


class Scores:
    """Normal scores of values, by their places among those of samples.

    Args:
        samples: values (B, K), NaN where one is missing.
    """

    def __init__(self, samples: Tensor) -> None:
        middle = samples.nanmedian(0).values.nan_to_num()
        self.sorted = torch.where(samples.isnan(), middle, samples).double().T.contiguous()
        self.sorted = self.sorted.sort(1).values

    def of(self, values: Tensor) -> Tensor:
        """The scores of values (n, K); those of missing ones are 0."""
        wanted, most = values.double().T.contiguous(), self.sorted.shape[1]
        places = [torch.searchsorted(self.sorted, wanted, right=right) for right in (False, True)]
        rank = ((places[0] + places[1]).double() / 2).clamp(0.5, most - 0.5)
        scores = torch.special.ndtri(rank / most).T.to(values)
        return scores.where(~values.isnan(), 0.0)


class Told:
    """What some elements of each row tell of the others, under a normal law of all of them.

    Args:
        covariance: C (D, D).
        known: which elements of each row are known, (n, D).
    """

    def __init__(self, covariance: Tensor, known: Tensor) -> None:
        self.covariance, self.known = covariance, known
        self._inverses, self._pattern = _inverses(covariance, known)

    def moved(self, drawn: Tensor, values: Tensor) -> Tensor:
        """Draws (n, D) of the law, moved to be draws given the known ones of values (n, D)."""
        away = torch.where(self.known, values - drawn, 0.0)
        return torch.where(self.known, values, drawn + self._solve(away) @ self.covariance)

    def distance(self, away: Tensor) -> Tensor:
        """Mahalanobis' squared distance of what is known (n,), `away` (n, D) being from the mean.

        Half of it, taken negative, is its log-density, up to a constant of the row.
        """
        away = torch.where(self.known, away, 0.0)
        return (away * self._solve(away)).sum(1)

    def _solve(self, given: Tensor) -> Tensor:
        """C^-1 e of vectors e (n, D), C being the covariance of what is known in each row."""
        if len(self._inverses) == 1:
            return given @ self._inverses[0]
        return torch.einsum("nd,nde->ne", given, self._inverses[self._pattern])


def without_dequantization(flow: Flow, bijection: Chain) -> Flow:
    """The flow of a part of another's bijection, without its dequantisation."""
    shape, embedding = flow.context_shape, flow.embedding
    part = Flow(bijection, flow.base, context_shape=shape, embedding=embedding)
    part.training = flow.training  # the modules keep their own
    return part


def lifted(
    flow: Flow, x: Tensor, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """A draw (n, D + M) for rows x (n, D), and log q of its elements, up to constants of the row.

    Noise within steps is even, but a missing value is drawn from a density. Where q is not even
    and no table is given (pixels with learned noise) log q counts as constant, or inf.
    """
    if not isinstance(flow.dequantization, TableDequantization):
        y, log_q = flow.lift(x, generator)
        impossible = (log_q == torch.inf).view(-1, *(1 for _ in y.shape[1:]))
        return y, torch.where(impossible, torch.inf, torch.zeros_like(y))
    y, log_noise, log_fill = flow.dequantization.elements(x, generator)
    log_q = torch.zeros_like(y)
    log_q[:, : x.shape[1]] = log_noise + log_fill
    return y, log_q


def lifted_masks(known: Tensor, dequantization: Any, filled: bool) -> tuple[Tensor, Tensor]:
    """Which elements of lifted rows (n, D + M) are known, and which follow from free ones.

    Flags of known values are known, or all flags. A known value that is not below others follows,
    as what it is above them, if not all of them are known.
    """
    following = torch.zeros_like(known)
    if not isinstance(dequantization, TableDequantization):
        return known, following
    flags = known[:, dequantization.columns_missing] | filled
    for j, sources, _ in dequantization.differences.inequalities:
        following[:, j] = known[:, j] & ~known[:, sources].all(1)
    following = torch.cat([following, torch.zeros_like(flags)], 1)
    return torch.cat([known, flags], 1) & ~following, following


def _inverses(covariance: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """The inverse of what is known of a covariance (D, D), for each pattern of known elements.

    Returns:
        Inverses (P, D, D), 0 in the rows and columns of what is not known, and the pattern of each
        row (n,).
    """
    patterns, pattern = known.unique(dim=0, return_inverse=True)
    both = patterns[:, :, None] & patterns[:, None, :]
    eye = torch.eye(len(covariance), dtype=torch.float64, device=covariance.device)
    ridged = covariance.double() + _RIDGE * eye * covariance.diagonal()
    inverses = torch.linalg.inv(torch.where(both, ridged, eye)) * both
    return inverses.to(covariance.dtype), pattern
