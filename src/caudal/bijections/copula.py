"""The Gaussian copula as two layers fitted to data: normal marginals, and their correlation."""

import math
from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from caudal.bijection import sum_event
from caudal.bijections.curves import Curves, pieces_of, stack, to_x, to_z, unfitted
from caudal.bijections.linear import full_precision
from caudal.bijections.marginals import fit
from caudal.bijections.normalization import DataDependent, weighted_std_mean
from caudal.bijections.weighted import Values
from caudal.weights import effective_share

_RIDGE = 1e-6  # keeps directions without variance finite
_SHARES = (0.0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0)  # amounts of shrinkage to choose from
_FOLDS = 4
_NUMBERS = 1 << 24  # of covariances in orders that are held at a time in 64 bits
_ENOUGH = 1000  # rows a column, from which on nothing is gained by shrinking


class Gaussianise(DataDependent):
    """z = Phi^-1(F(x)) of each column, F its distribution function; fixed once fitted.

    F is a normal's, or a monotone rational-quadratic spline through quantiles of the data, so that
    the density is continuous; within a single cell of a lattice, and in the place of an atom, it
    is linear, as in a histogram.
    Where a support is bounded F reaches 0 or 1 at its end, and outside the log-det is -inf; where
    the data are far from the end, the density falls off between them as it does without an end.
    Elsewhere the density falls beyond the data as in the generalised Pareto law of shape 1/4,
    beginning with the mean slope of the outer twentieth of the rows: samples stay near the data,
    and the log-density of a row far out falls like a logarithm. Where the outer twentieth has a
    lighter tail, the density falls exponentially first, by a factor e^4. Which F a column has is
    decided by the likelihood of rows left out of the fit.

    On a circle F is uniform between the ends and is not fitted: a fitted F would have a seam. With
    a normal base and nothing between, the flow is the product of the marginals; with `Correlate`
    between, it is the Gaussian copula.
    References: Gaussianization (Chen, Gopinath, NeurIPS 2000); the spline of Neural spline flows
    (Durkan, Bekasov, Murray, Papamakarios, 2019), arXiv:1906.04032.

    Args:
        low: (D,), the lower end of each column's support, -inf where there is none.
        high: (D,), the upper end, inf where there is none.
        step: (D,), the width of the cells where values lie on a lattice, else 0. Cells are counted
            from `low`, or from 0 where that is infinite.
        places: (D, A, 2), where the places of atoms start and end (see `Atoms`), inf for none.
        turns: (D,), True for columns that are circles from `low` to `high`; none if not given.
    """

    newer: ClassVar = ("light",)
    """Buffers that are 0 in files of earlier versions, which lack them."""

    x: Tensor
    z: Tensor
    tails: Tensor
    light: Tensor
    low: Tensor
    high: Tensor
    step: Tensor
    places: Tensor
    _least: Tensor
    _most: Tensor
    _pieces: Tensor
    _scale: Tensor

    def __init__(
        self,
        low: Tensor,
        high: Tensor,
        step: Tensor | None = None,
        places: Tensor | None = None,
        turns: Tensor | None = None,
    ) -> None:
        super().__init__()
        if not (low < high).all():
            raise ValueError(f"each `low` must be less than its `high`, got {low} and {high}")
        self.turns = [False] * len(low) if turns is None else turns.tolist()
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("high", high, persistent=False)
        step = torch.zeros_like(low) if step is None else step
        self.register_buffer("step", step, persistent=False)
        places = low.new_zeros(len(low), 0, 2) if places is None else places
        self.register_buffer("places", places, persistent=False)
        start = [unfitted(*ends) for ends in zip(low.tolist(), high.tolist(), strict=True)]
        for name, value in stack(start, low.dtype).items():
            self.register_buffer(name, value)
        self._derive()

    def extra_repr(self) -> str:
        bounded = int((self.low.isfinite() | self.high.isfinite()).sum())
        return f"{len(self.low)} columns, {bounded} bounded"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_slope = self.elements(z)
        return x, sum_event(-log_slope)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, log_slope = to_z(x.clamp(self._least, self._most), self._curves)
        outside = (x < self.low) | (x > self.high)
        return z, sum_event(torch.where(outside, -torch.inf, log_slope))

    def elements(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The x of each element of z, and log dz/dx there, both (B, D)."""
        x, log_slope = to_x(z, self._curves)
        return x.clamp(self._least, self._most), log_slope

    @torch.no_grad()
    def observe(
        self, x: Tensor, context: Tensor | None = None, weights: Tensor | None = None
    ) -> None:
        each = None if weights is None else weights.double().cpu().numpy()
        columns = [Values.of(column, each) for column in x.double().T.cpu().numpy()]
        ends = zip(self.low.tolist(), self.high.tolist(), self.step.tolist(), strict=True)
        own = [place[place[:, 0].isfinite()].double().cpu().numpy() for place in self.places]
        fitted = [
            unfitted(*e[:2]) if turns or not len(c.x) else fit(c, *e, p)
            for c, e, p, turns in zip(columns, ends, own, self.turns, strict=True)
        ]
        for name, value in stack(fitted, x.dtype).items():
            getattr(self, name).copy_(value)
        self._derive()

    @property
    def _curves(self) -> Curves:
        return Curves(self.x, self.z, self.tails, self.light, self._pieces, self._scale)

    def _derive(self) -> None:
        """Works out, from the knots and the ends, what does not change from pass to pass.

        It follows every fit, load and change of precision, and is not saved.
        """
        info = torch.finfo(self.low.dtype)
        width = torch.where(self.low.isfinite() & self.high.isfinite(), self.high - self.low, 0.0)
        # Rows are moved into the support, at least a few rounding steps away from its ends.
        least = self.low + info.eps * torch.maximum(self.low.abs(), width) + info.tiny
        most = self.high - info.eps * torch.maximum(self.high.abs(), width) - info.tiny
        least = torch.where(self.low.isfinite(), least, -torch.inf)
        most = torch.where(self.high.isfinite(), most, torch.inf)
        self.register_buffer("_least", least, persistent=False)
        self.register_buffer("_most", most, persistent=False)
        pieces, scale = pieces_of(self.x, self.z, self.step, self.places)
        self.register_buffer("_pieces", pieces, persistent=False)
        self.register_buffer("_scale", scale, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self._derive()
        return self

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, *arguments: Any
    ) -> None:
        for name in self.newer:
            state_dict.setdefault(prefix + name, torch.zeros_like(getattr(self, name)))
        super()._load_from_state_dict(state_dict, prefix, *arguments)
        self._derive()


class Correlate(DataDependent):
    """x = mean + W c + L z, with L lower triangular and c the context; not trained.

    Next to the noise it gives the flow the covariance of what reaches it, and the linear part of
    its dependence on the context, before training has begun. Correlations are shrunk towards zero
    as far as rows left out of the fit ask, so that few rows of many columns do not mislead. The
    first call of `observe` fits it, and later ones do nothing: a student keeps its teacher's.

    In `AnyOrder` it is the same normal distribution in each order o: L is then the Cholesky factor
    of the covariance of x[o_1], .., x[o_k], where k tokens of D are enough.

    Args:
        features: D, the length of an event.
        context: C, how much of the context counts, from its first feature on; 0 without one.
        ordered: whether events come in orders of their own, which stand after the context.
    """

    mean: Tensor
    factor: Tensor
    weight: Tensor
    initialized: Tensor

    def __init__(self, features: int, context: int = 0, *, ordered: bool = False) -> None:
        super().__init__()
        self.ordered = ordered
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("factor", torch.eye(features))
        self.register_buffer("weight", torch.zeros(features, context))
        self.register_buffer("initialized", torch.tensor(False))

    def extra_repr(self) -> str:
        conditioned = f", {self.weight.shape[1]} of context" if self.weight.numel() else ""
        return f"{self.mean.numel()} features{conditioned}"

    @property
    def settled(self) -> bool:
        return bool(self.initialized)

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.ordered:
            mean, factor = self._in_order(z, context)
            with full_precision(z):
                return _times(factor, z) + mean, _log_dets(factor, z)
        with full_precision(z):
            x = F.linear(z, self.factor, self.mean) + self._shift(context)
        return x, self._log_det().expand(z.shape[0])

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.ordered:
            mean, factor = self._in_order(x, context)
            with full_precision(x):
                return _solved(factor, x - mean), -_log_dets(factor, x)
        with full_precision(x):
            centred = (x - self.mean - self._shift(context)).T
            z = torch.linalg.solve_triangular(self.factor, centred, upper=False).T
        return z, -self._log_det().expand(x.shape[0])

    @torch.no_grad()
    def observe(
        self, x: Tensor, context: Tensor | None = None, weights: Tensor | None = None
    ) -> None:
        if self.settled:
            return
        e = self.weight.shape[1]
        joint = (x if context is None else torch.cat([context[:, :e], x], 1)).double()
        std, mean = (moment[0] for moment in weighted_std_mean(joint, weights))
        std = torch.where(std > 0, std, 1.0)
        correlation = _shrunk_correlation((joint - mean) / std, weights)
        inner = correlation[:e, :e] + _RIDGE * torch.eye(e, dtype=std.dtype, device=std.device)
        weight = torch.linalg.solve(inner, correlation[:e, e:]).T
        residual = correlation[e:, e:] - weight @ correlation[:e, e:]
        residual.diagonal().add_(_RIDGE)
        weight = weight * std[e:, None] / std[:e]
        self.weight.copy_(weight)
        self.mean.copy_(mean[e:] - weight @ mean[:e])
        self.factor.copy_(std[e:, None] * torch.linalg.cholesky(residual))
        self.initialized.fill_(True)

    @torch.no_grad()
    def settle(self, order: Tensor) -> None:
        """Becomes that of one order (D,) for all events, which then are no longer told theirs."""
        self.factor.copy_(self._factors(order[None])[0])
        self.mean.copy_(self.mean[order])
        self.weight.copy_(self.weight[order])
        self.ordered = False

    def expected(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """The mean of x given context (B, D), and the standard deviations around it (D,)."""
        return self.mean + self._shift(context), self.factor.norm(dim=1)

    def _shift(self, context: Tensor | None) -> Tensor | float:
        if context is None:
            return 0.0
        return F.linear(context[:, : self.weight.shape[1]], self.weight)

    def _log_det(self) -> Tensor:
        return self.factor.diagonal().log().sum()

    def _in_order(self, value: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """The mean (B, k) and L (B, k, k) of rows of k tokens in their orders; one L if all agree.

        In float64: the covariance has the square of the condition number of its factor.
        """
        assert context is not None
        order = context[:, context.shape[1] - value.shape[1] :].long()
        mean = (self.mean + self._shift(context)).gather(1, order)
        if torch.compiler.is_compiling():
            return mean, self._factors(order).to(value.dtype)
        orders, which = order.unique(dim=0, return_inverse=True)
        all_differ = len(orders) == len(order)
        orders = order if all_differ else orders
        pieces = orders.split(max(1, _NUMBERS // order.shape[1] ** 2))
        factor = torch.cat([self._factors(piece).to(value.dtype) for piece in pieces])
        # In evaluation there is a single order.
        return mean, factor if all_differ or len(factor) == 1 else factor[which]

    def _factors(self, order: Tensor) -> Tensor:
        """L (O, k, k) of the tokens in each of some orders (O, k), in float64."""
        covariance = self.factor.double() @ self.factor.double().T
        return torch.linalg.cholesky(covariance[order.unsqueeze(2), order.unsqueeze(1)])


def _times(factor: Tensor, z: Tensor) -> Tensor:
    """L z of rows z (B, k), with L of each row (B, k, k), or of all (1, k, k)."""
    if factor.shape[0] == 1:
        return F.linear(z, factor[0])
    return (factor @ z.unsqueeze(2)).squeeze(2)


def _solved(factor: Tensor, x: Tensor) -> Tensor:
    """L^-1 x of rows x (B, k), with L of each row (B, k, k), or of all (1, k, k)."""
    if factor.shape[0] == 1:
        return torch.linalg.solve_triangular(factor[0], x.T, upper=False).T
    return torch.linalg.solve_triangular(factor, x.unsqueeze(2), upper=False).squeeze(2)


def _log_dets(factor: Tensor, like: Tensor) -> Tensor:
    """Log det L of each row, (B,)."""
    return factor.diagonal(dim1=1, dim2=2).log().sum(1).expand(like.shape[0])


def _shrunk_correlation(x: Tensor, weights: Tensor | None) -> Tensor:
    """The correlation matrix of standardised rows (N, D), its off-diagonal entries shrunk.

    By how much is decided by the likelihood of each quarter of the rows under a fit to the others.
    """
    (n, features), rows = x.shape, [float(len(x[i::_FOLDS])) for i in range(_FOLDS)]
    effective = float(n)
    if weights is not None:  # a product of rows counts as often as they do
        weights = weights.to(x)
        effective *= effective_share(weights.log())
        rows = [float(weights[i::_FOLDS].sum()) for i in range(_FOLDS)]
        x = x * weights.sqrt()[:, None]
    quarters = [part.T @ part for part in (x[i::_FOLDS] for i in range(_FOLDS))]
    total = torch.stack(quarters).sum(0)
    if effective > _ENOUGH * features:
        return _towards(total / n, 0.0)
    others = [_unit(total - part) for part in quarters]
    scores = [  # one matrix at a time: with 2,000 columns each has 32 MB
        sum(map(_log_density, quarters, rows, (_towards(other, share) for other in others)))
        for share in _SHARES
    ]
    return _towards(total / n, _SHARES[scores.index(max(scores))])


def _unit(products: Tensor) -> Tensor:
    """Products of columns scaled to a diagonal of ones."""
    std = products.diagonal().clamp(min=torch.finfo(products.dtype).tiny).sqrt()
    return products / std / std[:, None]


def _towards(correlation: Tensor, share: float) -> Tensor:
    """A correlation with its off-diagonal entries shrunk by a share, and its diagonal 1."""
    shrunk = (1 - share) * correlation
    shrunk.diagonal().fill_(1.0)
    return shrunk


def _log_density(products: Tensor, n: float, correlation: Tensor) -> float:
    """The log-density of n rows with these sums of products under a normal; -inf if singular."""
    correlation.diagonal().add_(_RIDGE)
    factor, failed = torch.linalg.cholesky_ex(correlation)
    if failed:
        return -math.inf
    trace = torch.cholesky_solve(products, factor).diagonal().sum()
    return float(-0.5 * trace - n * factor.diagonal().log().sum())
