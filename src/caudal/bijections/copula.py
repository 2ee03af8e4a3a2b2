"""The Gaussian copula as two layers fitted to data: normal marginals, and their correlation."""

import math
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from caudal.bijection import sum_event
from caudal.bijections.linear import full_precision
from caudal.bijections.normalization import DataDependent
from caudal.elementwise.spline import Piece, evaluate, solve

PIECES = 512
"""The largest number of pieces of a column's distribution function."""
_SIZES = (8, 16, 32, 64, 128, 256)  # to choose from, by the likelihood of rows left out
_ROWS_A_PIECE = 8  # at least
_ROWS_TO_CHOOSE = 20_000  # on which the number of pieces is chosen
_TAIL = 0.05  # share of the rows whose slope is that of the tail beyond them
_UNSEEN = 0.5  # what an empty interval counts for, in rows
_RIDGE = 1e-6  # keeps directions without variance finite
_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


class Gaussianise(DataDependent):
    """z = Phi^-1(F(x)) of each column, F its distribution function; fixed once fitted.

    F is a monotone rational-quadratic spline through quantiles of the data, so that the density is
    continuous; within a single cell of a lattice it is linear, as in a histogram. Where a support
    is bounded F reaches 0 or 1 at its end, and outside the log-det is -inf. Elsewhere z goes on in
    a straight line beyond the data, with the mean slope of the outer twentieth of the rows: tails
    are normal, and of the data's own width. How many quantiles are taken is decided column by
    column, by the likelihood of half of the rows under a fit to the other half.

    With a normal base and nothing between, the flow is the product of the marginals; with
    `Correlate` between, it is the Gaussian copula.
    References: Gaussianization (Chen, Gopinath, NeurIPS 2000); the spline of Neural spline flows
    (Durkan, Bekasov, Murray, Papamakarios, 2019), arXiv:1906.04032.

    Args:
        low: (D,), the lower end of each column's support, -inf where there is none.
        high: (D,), the upper end, inf where there is none.
        step: (D,), the width of the cells where values lie on a lattice, else 0. Cells are counted
            from `low`, or from 0 where that is infinite.
    """

    x: Tensor
    z: Tensor
    tails: Tensor
    low: Tensor
    high: Tensor
    step: Tensor

    def __init__(self, low: Tensor, high: Tensor, step: Tensor | None = None) -> None:
        super().__init__()
        if not (low < high).all():
            raise ValueError(f"each `low` must be less than its `high`, got {low} and {high}")
        self.register_buffer("low", low, persistent=False)
        self.register_buffer("high", high, persistent=False)
        step = torch.zeros_like(low) if step is None else step
        self.register_buffer("step", step, persistent=False)
        start = [_unfitted(*ends) for ends in zip(low.tolist(), high.tolist(), strict=True)]
        for name, value in _stack(start, low.dtype).items():
            self.register_buffer(name, value)

    def extra_repr(self) -> str:
        bounded = int((self.low.isfinite() | self.high.isfinite()).sum())
        return f"{len(self.low)} columns, {bounded} bounded"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_slope = _to_x(z, self._curves())
        return self._inside(x), sum_event(-log_slope)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, log_slope = _to_z(self._inside(x), self._curves())
        outside = (x < self.low) | (x > self.high)
        return z, sum_event(torch.where(outside, -torch.inf, log_slope))

    @torch.no_grad()
    def observe(self, x: Tensor, context: Tensor | None = None) -> None:
        columns = x.double().T.cpu().numpy()
        ends = zip(self.low.tolist(), self.high.tolist(), self.step.tolist(), strict=True)
        fitted = [_fit(np.sort(c), *e) for c, e in zip(columns, ends, strict=True)]
        for name, value in _stack(fitted, x.dtype).items():
            getattr(self, name).copy_(value)

    def _curves(self) -> "_Curves":
        return _curves(self.x, self.z, self.tails, self.step)

    def _inside(self, x: Tensor) -> Tensor:
        """Moves x into the support, at least a few rounding steps away from its ends."""
        info = torch.finfo(x.dtype)
        width = torch.where(self.low.isfinite() & self.high.isfinite(), self.high - self.low, 0.0)
        low = self.low + info.eps * torch.maximum(self.low.abs(), width) + info.tiny
        high = self.high - info.eps * torch.maximum(self.high.abs(), width) - info.tiny
        x = torch.where(self.low.isfinite(), torch.maximum(x, low), x)
        return torch.where(self.high.isfinite(), torch.minimum(x, high), x)


class Correlate(DataDependent):
    """x = mean + W c + L z, with L lower triangular and c the context; not trained.

    Next to the noise it gives the flow the covariance of what reaches it, and the linear part of
    its dependence on the context, before training has begun. Correlations are shrunk towards zero
    as far as their own sampling errors ask, so that few rows of many columns do not mislead. The
    first call of `observe` fits it, and later ones do nothing: a student keeps its teacher's.
    Reference: the shrinkage of Schaefer, Strimmer (2005), Stat. Appl. Genet. Mol. Biol. 4, 32.

    Args:
        features: D, the length of an event.
        context: C, the length of the context, 0 without one.
    """

    mean: Tensor
    factor: Tensor
    weight: Tensor
    initialized: Tensor

    def __init__(self, features: int, context: int = 0) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("factor", torch.eye(features))
        self.register_buffer("weight", torch.zeros(features, context))
        self.register_buffer("initialized", torch.tensor(False))

    def extra_repr(self) -> str:
        given = f", {self.weight.shape[1]} of context" if self.weight.numel() else ""
        return f"{self.mean.numel()} features{given}"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(z):
            x = F.linear(z, self.factor, self.mean) + self._shift(context)
        return x, self._log_det().expand(z.shape[0])

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        with full_precision(x):
            centred = (x - self.mean - self._shift(context)).T
            z = torch.linalg.solve_triangular(self.factor, centred, upper=False).T
        return z, -self._log_det().expand(x.shape[0])

    @torch.no_grad()
    def observe(self, x: Tensor, context: Tensor | None = None) -> None:
        if self.initialized:
            return
        e = self.weight.shape[1]
        joint = x if context is None else torch.cat([context, x], 1)
        std, mean = torch.std_mean(joint.double(), 0, correction=0)
        std = torch.where(std > 0, std, 1.0)
        correlation = _shrunk_correlation((joint.double() - mean) / std)
        inner = correlation[:e, :e] + _RIDGE * torch.eye(e, dtype=std.dtype, device=std.device)
        weight = torch.linalg.solve(inner, correlation[:e, e:]).T
        residual = correlation[e:, e:] - weight @ correlation[:e, e:]
        residual.diagonal().add_(_RIDGE)
        weight = weight * std[e:, None] / std[:e]
        self.weight.copy_(weight)
        self.mean.copy_(mean[e:] - weight @ mean[:e])
        self.factor.copy_(std[e:, None] * torch.linalg.cholesky(residual))
        self.initialized.fill_(True)

    def _shift(self, context: Tensor | None) -> Tensor | float:
        return 0.0 if context is None else F.linear(context, self.weight)

    def _log_det(self) -> Tensor:
        return self.factor.diagonal().log().sum()


def _shrunk_correlation(x: Tensor) -> Tensor:
    """The correlation matrix of standardised rows (N, D), its off-diagonal entries shrunk."""
    correlation = x.T @ x / len(x)
    errors = (1 - correlation.square()).square() / len(x)  # variances of normal correlations
    off = ~torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
    size = correlation[off].square().sum()
    kept = 1 - (errors[off].sum() / size).clamp(0, 1) if size > 0 else 0.0
    return torch.where(off, kept * correlation, 1.0)


class _Fit(NamedTuple):
    """Knots of a column: x ascending, z = Phi^-1(F(x)); and dz/dx of the tails on either side."""

    x: np.ndarray
    z: np.ndarray
    tails: tuple[float, float]


class _Curves(NamedTuple):
    """The distribution functions of all columns; each is (D, K) or (D, K + 1), tails (D, 2).

    The probabilities are known from both ends, so that neither of them is rounded to 0 or 1.
    """

    x: Tensor
    z: Tensor
    below: Tensor  # F at the knots
    above: Tensor  # 1 - F
    height: Tensor
    slope_left: Tensor
    slope_right: Tensor
    tails: Tensor


def _curves(x: Tensor, z: Tensor, tails: Tensor, step: Tensor) -> _Curves:
    """The splines through knots x and z (D, K + 1); unused pieces at the end have width 0."""
    below, above = torch.special.ndtr(z), torch.special.ndtr(-z)
    height = torch.where(z[:, 1:] < 0, below.diff(), -above.diff())
    width = x.diff()
    used = width > 0
    chord = torch.where(used, height / torch.where(used, width, 1.0), 1.0)
    # Within a single cell, and at its ends, the density does not vary.
    smooth = used & (width > 1.5 * step[:, None])
    both = smooth[:, 1:] & smooth[:, :-1]
    mean = (chord[:, 1:] * chord[:, :-1]).sqrt()
    left = torch.cat([chord[:, :1], torch.where(both, mean, chord[:, 1:])], 1)
    right = torch.cat([torch.where(both, mean, chord[:, :-1]), chord[:, -1:]], 1)
    return _Curves(x, z, below, above, height, left, right, tails)


def _to_z(x: Tensor, curves: _Curves) -> tuple[Tensor, Tensor]:
    """Z and log dz/dx of each element, both (B, D)."""
    first, last = curves.x[:, 0], curves.x[:, -1]
    inside = x.clamp(first, last)
    index, piece = _locate(inside, curves.x, curves)
    rise, slope = evaluate(((inside - piece.left) / piece.width).clamp(0, 1), piece)
    below = _take(curves.below, index) + rise
    above = _take(curves.above, index + 1) + (piece.height - rise)
    tiny = torch.finfo(x.dtype).tiny
    z = torch.where(
        below < above,
        torch.special.ndtri(below.clamp(tiny, 0.75)),
        -torch.special.ndtri(above.clamp(tiny, 0.75)),
    )
    log_slope = slope.log() + 0.5 * z.square() + _HALF_LOG_TAU
    for side, end, outside in ((0, first, x < first), (1, last, x > last)):
        tail = curves.tails[:, side]
        known = torch.where(curves.z[:, -side].isfinite(), curves.z[:, -side], 0.0)
        z = torch.where(outside, known + tail * (x - end), z)
        log_slope = torch.where(outside, tail.log(), log_slope)
    return z, log_slope


def _to_x(z: Tensor, curves: _Curves) -> tuple[Tensor, Tensor]:
    """X and log dz/dx of each element, both (B, D)."""
    first, last = curves.z[:, 0], curves.z[:, -1]
    inside = z.clamp(first, last)
    index, piece = _locate(inside, curves.z, curves)
    below = torch.special.ndtr(inside) - _take(curves.below, index)
    above = torch.special.ndtr(-inside) - _take(curves.above, index + 1)
    rise = torch.where(inside < 0, below, piece.height - above)
    x, slope = solve(torch.minimum(rise.clamp(min=0), piece.height), piece)
    log_slope = slope.log() + 0.5 * inside.square() + _HALF_LOG_TAU
    for side, end, outside in ((0, first, z < first), (1, last, z > last)):
        tail = curves.tails[:, side]
        known = torch.where(end.isfinite(), end, 0.0)
        x = torch.where(outside, curves.x[:, -side] + (z - known) / tail, x)
        log_slope = torch.where(outside, tail.log(), log_slope)
    return x, log_slope


def _locate(value: Tensor, knots: Tensor, curves: _Curves) -> tuple[Tensor, Piece]:
    """The piece (B, D) into which each value falls, by number and as a spline from height 0."""
    index = torch.searchsorted(knots, value.detach().T.contiguous()).T - 1
    index = index.clamp(0, knots.shape[1] - 2)
    left = _take(curves.x, index)
    height = _take(curves.height, index)
    return index, Piece(
        left,
        _take(curves.x, index + 1) - left,
        torch.zeros_like(height),
        height,
        _take(curves.slope_left, index),
        _take(curves.slope_right, index),
    )


def _take(table: Tensor, index: Tensor) -> Tensor:
    """The entries index (B, D) of a table (D, K): (B, D)."""
    return table.gather(1, index.T).T


def _stack(fits: list[_Fit], dtype: torch.dtype) -> dict[str, Tensor]:
    """All columns as tensors of one size; the last knot of each is repeated."""
    padded = [[np.pad(k, (0, PIECES + 1 - len(k)), "edge") for k in fit[:2]] for fit in fits]
    knots = torch.from_numpy(np.array(padded)).to(dtype)
    tails = torch.tensor([fit.tails for fit in fits], dtype=dtype)
    return {"x": knots[:, 0].contiguous(), "z": knots[:, 1].contiguous(), "tails": tails}


def _unfitted(low: float, high: float) -> _Fit:
    """The map before it is fitted: uniform between two ends, of slope 1 elsewhere."""
    left = low if math.isfinite(low) else min(high, 1.0) - 2.0
    right = high if math.isfinite(high) else left + 2.0
    z = np.array([-1.0 if left != low else -np.inf, 1.0 if right != high else np.inf])
    return _Fit(np.array([left, right]), z, (1.0, 1.0))


def _fit(values: np.ndarray, low: float, high: float, step: float) -> _Fit:
    """The curve of a column, from its values in ascending order."""
    ends = (low, high, step)
    cells = (values[-1] - values[0]) / step + 1 if step else math.inf
    if cells <= min(PIECES // 4, len(values) / _ROWS_A_PIECE):
        return _knots(values, PIECES, *ends)  # the histogram itself
    order = np.random.default_rng(0).permutation(len(values))[:_ROWS_TO_CHOOSE]
    half = len(order) // 2
    some, others = np.sort(values[order[:half]]), torch.from_numpy(values[order[half:]])
    most = min(half / _ROWS_A_PIECE, PIECES // 4 if step else PIECES)
    sizes = [size for size in _SIZES if size <= most] or _SIZES[:1]
    if len(sizes) == 1:
        return _knots(values, sizes[0], *ends)
    tables = _stack([_knots(some, size, *ends) for size in sizes], torch.float64)
    steps = torch.full((len(sizes),), step, dtype=torch.float64)
    z, log_slope = _to_z(others[:, None].expand(-1, len(sizes)), _curves(**tables, step=steps))
    likelihood = (log_slope - 0.5 * z.square()).mean(0)
    return _knots(values, sizes[int(likelihood.argmax())], *ends)


def _knots(values: np.ndarray, pieces: int, low: float, high: float, step: float) -> _Fit:
    """The curve through about `pieces` quantiles, and through the ends."""
    n = len(values)
    knots = np.quantile(values, _levels(n, pieces))
    if step:
        knots = _edges(values, knots, pieces, low, step)
    if math.isfinite(low):
        knots = np.append(low, knots[knots > low])
    if math.isfinite(high):
        knots = np.append(knots[knots < high], high)
    knots = np.unique(knots.astype(np.float32)).astype(float)
    if len(knots) < 2:
        spread = max(abs(knots[0]), 1.0) * 1e-3
        knots = np.array([knots[0] - spread, knots[0] + spread])
    # The rows up to each knot; the outermost knots of unbounded columns have rows beyond them.
    rows = np.diff(np.searchsorted(values, knots[1:-1], "left"), prepend=0, append=n).astype(float)
    rows = np.maximum(rows, _UNSEEN)
    beyond = [0.0 if math.isfinite(end) else _UNSEEN for end in (low, high)]
    below = beyond[0] + np.append(0.0, np.cumsum(rows))
    above = beyond[1] + np.append(np.cumsum(rows[::-1])[::-1], 0.0)
    z = _normal_quantiles(below, above)
    return _Fit(knots, z, (_tail(knots, z), _tail(-knots[::-1], -z[::-1])))


def _levels(n: int, pieces: int) -> np.ndarray:
    """Levels of quantiles: evenly spaced, and halved again and again towards either end."""
    inner = np.arange(1, pieces) / pieces
    halvings = max(0, int(math.log2(max(n / pieces / 2, 1))))
    outer = 0.5 ** np.arange(1, halvings + 1) / pieces
    return np.concatenate([[0.0], outer[::-1], inner, 1 - outer, [1.0]])


def _edges(
    values: np.ndarray, knots: np.ndarray, pieces: int, low: float, step: float
) -> np.ndarray:
    """Knots moved to the ends of cells; cells with the rows of a piece are pieces of their own."""
    origin = low if math.isfinite(low) else 0.0
    cells = np.floor((values - origin) / step)
    found, counts = np.unique(cells, return_counts=True)
    heavy = found if len(found) <= pieces // 4 else found[counts * pieces > len(values)]
    inner = np.floor((knots - origin) / step)
    last = [inner[-1] + 1]
    return origin + step * np.unique(np.concatenate([heavy, heavy + 1, inner, last]))


def _normal_quantiles(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Phi^-1(below / total), from whichever end is nearer."""
    total = torch.from_numpy(below + above)
    lower = torch.special.ndtri(torch.from_numpy(below) / total)
    upper = -torch.special.ndtri(torch.from_numpy(above) / total)
    return torch.where(lower < 0, lower, upper).numpy()


def _tail(knots: np.ndarray, z: np.ndarray) -> float:
    """The slope of the tail before the first knot: the mean slope of the outer rows."""
    if not math.isfinite(z[0]):
        return 1.0
    stop = int(np.searchsorted(z, _Z_TAIL))
    stop = min(max(stop, 1), len(z) - 1)
    stop = stop if math.isfinite(z[stop]) else 1
    rise = z[stop] - z[0] if math.isfinite(z[stop]) else 1.0
    return float(rise / (knots[stop] - knots[0]))


_Z_TAIL = float(torch.special.ndtri(torch.tensor(_TAIL)))
