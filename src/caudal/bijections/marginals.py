"""Distribution functions of columns: how they are fitted to values, and evaluated both ways."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from caudal.elementwise.spline import Piece, evaluate, solve

PIECES = 512
"""The largest number of pieces of a column's distribution function."""
_SIZES = (8, 16, 32, 64, 128, 256)  # to choose from, by the likelihood of rows left out
_ROWS_A_PIECE = 8  # at least
_MANY = 2000  # rows, of which one half may judge the other
_FOLDS = 4  # of fewer rows
_NORMAL = 64  # pieces of a normal
_DOUBT = 0.5  # standard errors by which a normal may be bettered and is still kept
_ROWS_TO_CHOOSE = 20_000  # on which the number of pieces is chosen
_TAIL = 0.05  # share of the rows whose slope is that of the tail beyond them
_SHAPE = 0.25  # xi of the tails: beyond the data 1 - F falls like x^(-1 / xi)
_REACH = 1e6  # times the spread of the middle half
_UNSEEN = 0.5  # what an empty interval counts for, in rows
_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


class Fit(NamedTuple):
    """Knots of a column: x ascending, z = Phi^-1(F(x)); and dz/dx of the tails at either end."""

    x: np.ndarray
    z: np.ndarray
    tails: tuple[float, float]


class Curves(NamedTuple):
    """The distribution functions of D columns.

    Attributes:
        x: the knots, (D, K + 1) ascending.
        z: Phi^-1(F) of the knots.
        tails: dz/dx where the tails begin, (D, 2).
        pieces: what evaluation takes of each piece, (7, D, K); see `pieces_of`.
    """

    x: Tensor
    z: Tensor
    tails: Tensor
    pieces: Tensor


def pieces_of(x: Tensor, z: Tensor, step: Tensor, places: Tensor) -> Tensor:
    """The splines through knots x and z (D, K + 1): left, width, height, two slopes, F, 1 - F.

    F is that of the left end, 1 - F that of the right end: known from either side, none of them is
    rounded to 0 or 1. Unused pieces at the end have width 0. Within a cell of a lattice, of width
    `step` (D,), and within the place of an atom, (start, end) of `places` (D, A, 2), the density
    does not vary.
    """
    below, above = torch.special.ndtr(z), torch.special.ndtr(-z)
    height = torch.where(z[:, 1:] < 0, below.diff(), -above.diff())
    width = x.diff()
    used = width > 0
    chord = torch.where(used, height / torch.where(used, width, 1.0), 1.0)
    middle = (x[:, :-1] + width / 2).unsqueeze(2)
    starts, ends = places.unsqueeze(1).unbind(3)
    in_place = ((middle > starts) & (middle < ends)).any(2)
    smooth = used & (width > 1.5 * step[:, None]) & ~in_place
    both = smooth[:, 1:] & smooth[:, :-1]
    mean = (chord[:, 1:] * chord[:, :-1]).sqrt()
    left = torch.cat([chord[:, :1], torch.where(both, mean, chord[:, 1:])], 1)
    right = torch.cat([torch.where(both, mean, chord[:, :-1]), chord[:, -1:]], 1)
    return torch.stack([x[:, :-1], width, height, left, right, below[:, :-1], above[:, 1:]])


def to_z(x: Tensor, curves: Curves) -> tuple[Tensor, Tensor]:
    """Z and log dz/dx of each element, both (B, D)."""
    first, last = curves.x[:, 0], curves.x[:, -1]
    inside = x.clamp(first, last)
    piece, below, above = _locate(inside, curves.x, curves.pieces)
    rise, slope = evaluate(((inside - piece.left) / piece.width).clamp(0, 1), piece)
    below, above = below + rise, above + (piece.height - rise)
    # From the nearer end, where the probability is small and so keeps its digits.
    nearer = torch.minimum(below, above).clamp(torch.finfo(x.dtype).tiny, 0.75)
    z = torch.special.ndtri(nearer)
    z = torch.where(below < above, z, -z)
    log_slope = slope.log() + 0.5 * z.square() + _HALF_LOG_TAU
    is_low, is_high = x < first, x > last
    start, rate = _tail_of(curves, is_low)
    excess = torch.maximum(first - x, x - last).clamp(min=0)
    grown = (_SHAPE * rate * excess).clamp(max=torch.finfo(x.dtype).max).log1p()
    beyond = (start.square() + 2 / _SHAPE * grown).sqrt()
    z = torch.where(is_low, -beyond, torch.where(is_high, beyond, z))
    log_tail = rate.log() - grown - beyond.log()
    return z, torch.where(is_low | is_high, log_tail, log_slope)


def to_x(z: Tensor, curves: Curves) -> tuple[Tensor, Tensor]:
    """X and log dz/dx of each element, both (B, D)."""
    first, last = curves.z[:, 0], curves.z[:, -1]
    inside = z.clamp(first, last)
    piece, below, above = _locate(inside, curves.z, curves.pieces)
    nearer = torch.special.ndtr(-inside.abs())
    rise = torch.where(inside < 0, nearer - below, piece.height - (nearer - above))
    x, slope = solve(torch.minimum(rise.clamp(min=0), piece.height), piece)
    log_slope = slope.log() + 0.5 * inside.square() + _HALF_LOG_TAU
    is_low, is_high = z < first, z > last
    start, rate = _tail_of(curves, is_low)
    beyond = torch.where(is_low | is_high, z.abs(), start)
    largest = math.log(torch.finfo(z.dtype).max) / 2
    grown = (_SHAPE / 2 * (beyond.square() - start.square())).clamp(max=largest)
    excess = grown.expm1() / (_SHAPE * rate)
    x = torch.where(is_low, curves.x[:, 0] - excess, x)
    x = torch.where(is_high, curves.x[:, -1] + excess, x)
    log_tail = rate.log() - grown - beyond.log()
    return x, torch.where(is_low | is_high, log_tail, log_slope)


def _tail_of(curves: Curves, is_low: Tensor) -> tuple[Tensor, Tensor]:
    """Where the tail on an element's side begins, abs(z), and its rate a; both (B, D).

    With d the distance to the data, z^2 = start^2 + 2 log(1 + xi a d) / xi: the density of x falls
    as in the generalised Pareto law of shape xi, and joins with the slope dz/dx = a / start.
    """
    start = curves.z[:, [0, -1]].abs()
    start = torch.where(start.isfinite(), start, 1.0)
    rate = curves.tails * start
    return torch.where(is_low, start[:, 0], start[:, 1]), torch.where(
        is_low, rate[:, 0], rate[:, 1]
    )


def _locate(value: Tensor, knots: Tensor, pieces: Tensor) -> tuple[Piece, Tensor, Tensor]:
    """The piece into which each value (B, D) falls, with F at its left and 1 - F at its right."""
    index = torch.searchsorted(knots, value.detach().T.contiguous()).T - 1
    index = index.clamp(0, pieces.shape[2] - 1)
    columns = torch.arange(len(knots), device=value.device)
    left, width, height, *slopes, below, above = pieces[:, columns, index]
    return Piece(left, width, torch.zeros_like(left), height, *slopes), below, above


def stack(fits: list[Fit], dtype: torch.dtype) -> dict[str, Tensor]:
    """All columns as tensors of one size; the last knot of each is repeated."""
    padded = [[np.pad(k, (0, PIECES + 1 - len(k)), "edge") for k in fit[:2]] for fit in fits]
    knots = torch.from_numpy(np.array(padded)).to(dtype)
    tails = torch.tensor([fit.tails for fit in fits], dtype=dtype)
    return {"x": knots[:, 0].contiguous(), "z": knots[:, 1].contiguous(), "tails": tails}


def unfitted(low: float, high: float) -> Fit:
    """The map before it is fitted: uniform between two ends, of slope 1 elsewhere."""
    left = low if math.isfinite(low) else min(high, 1.0) - 2.0
    right = high if math.isfinite(high) else left + 2.0
    z = np.array([-1.0 if left != low else -np.inf, 1.0 if right != high else np.inf])
    return Fit(np.array([left, right]), z, (1.0, 1.0))


def fit(values: np.ndarray, low: float, high: float, step: float, places: np.ndarray) -> Fit:
    """The curve of a column, from its values in ascending order.

    `places` (A, 2) are the starts and ends of the places of atoms, each of which is a piece of its
    own; a column with atoms is no normal.

    It is a normal, unless rows left out of the fit speak against that by more than half a
    standard error of their mean likelihood. Else they decide how many quantiles are taken, and
    whether as many values of a normal are put beside the column's own, which steadies few rows.
    """
    values = _within_reach(values)
    n, ends = len(values), (low, high, step, places)
    cells = (values[-1] - values[0]) / step + 1 if step else math.inf
    if cells <= min(PIECES // 4, n / _ROWS_A_PIECE):
        return _knots(values, PIECES, *ends)  # the histogram itself
    order = np.random.default_rng(0).permutation(n)[:_ROWS_TO_CHOOSE]
    folds = 2 if n >= _MANY else min(n, _FOLDS)
    most = min(len(order) * (1 - 1 / folds) / _ROWS_A_PIECE, PIECES // 4 if step else PIECES)
    sizes = [size for size in _SIZES if size <= most] or _SIZES[:1]
    choices: list[Callable[..., Fit]] = [partial(_knots, pieces=size) for size in sizes]
    if not len(places):
        choices = [_normal, *choices]
    if n < _MANY and not len(places):
        choices += [partial(_steadied, pieces=size) for size in sizes]
    scores = []
    for fold in range(1 if n >= _MANY else folds):
        is_out = np.arange(len(order)) % folds == fold
        some = np.sort(values[order[~is_out]])
        fits = [choose(some, low=low, high=high, step=step, places=places) for choose in choices]
        scores.append(_log_densities(values[order[is_out]], fits, step, places))
    likelihood = np.concatenate(scores)
    best = int(likelihood.mean(0).argmax())
    gain = likelihood[:, best] - likelihood[:, 0]
    if gain.mean() <= _DOUBT * gain.std() / math.sqrt(len(gain)):
        best = 0
    return choices[best](values, low=low, high=high, step=step, places=places)


def _within_reach(values: np.ndarray) -> np.ndarray:
    """The values but those far out, up to which 32 bits have no slope: the tail has them."""
    low, median, high = np.quantile(values, [0.25, 0.5, 0.75])
    near = values[np.abs(values - median) <= _REACH * (high - low)]
    return near if high > low else values


def _log_densities(
    values: np.ndarray, fits: list[Fit], step: float, places: np.ndarray
) -> np.ndarray:
    """Log-densities of values (N,) under each fit, up to a constant: (N, fits)."""
    tables = stack(fits, torch.float64)
    steps = torch.full((len(fits),), step, dtype=torch.float64)
    own = torch.from_numpy(places).expand(len(fits), -1, -1)
    curves = Curves(**tables, pieces=pieces_of(tables["x"], tables["z"], steps, own))
    z, log_slope = to_z(torch.from_numpy(values)[:, None].expand(-1, len(fits)), curves)
    return (log_slope - 0.5 * z.square()).numpy()


def _normal(values: np.ndarray, low: float, high: float, step: float, places: np.ndarray) -> Fit:
    """The normal of the values' mean and deviation; what lies beyond an end is at that end."""
    mean, std = values.mean(), max(values.std(), 1e-3 * max(abs(values.mean()), 1.0))
    end = float(torch.special.ndtri(torch.tensor(_UNSEEN / (len(values) + 2 * _UNSEEN))))
    z = np.linspace(end, -end, _NORMAL + 1)
    knots = mean + std * z
    inside = (knots > low) & (knots < high)
    if inside.sum() < 2:
        return _knots(values, _SIZES[0], low, high, step, places)
    knots, z = knots[inside], z[inside]
    if math.isfinite(low):
        knots, z = np.append(low, knots), np.append(-np.inf, z)
    if math.isfinite(high):
        knots, z = np.append(knots, high), np.append(z, np.inf)
    return Fit(knots, z, (1 / std, 1 / std))


def _steadied(
    values: np.ndarray, pieces: int, low: float, high: float, step: float, places: np.ndarray
) -> Fit:
    """The curve through quantiles of the values and of as many of their normal."""
    levels = torch.from_numpy((np.arange(len(values)) + 0.5) / len(values))
    normal = values.mean() + values.std() * torch.special.ndtri(levels).numpy()
    both = np.sort(np.append(values, normal[(normal > low) & (normal < high)]))
    return _knots(both, pieces, low, high, step, places, len(values) / len(both))


def _knots(
    values: np.ndarray,
    pieces: int,
    low: float,
    high: float,
    step: float,
    places: np.ndarray,
    weight: float = 1.0,
) -> Fit:
    """The curve through about `pieces` quantiles, and the ends; a value counts `weight`."""
    n = len(values)
    rest = values[~_inside(values, places)]
    rest = rest if len(rest) else values
    knots = np.quantile(rest, _levels(len(rest), pieces))
    knots = np.append(knots[~_inside(knots, places)], places)
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
    rows = np.diff(np.searchsorted(values, knots[1:-1], "left"), prepend=0, append=n) * weight
    rows = np.maximum(rows, _UNSEEN)
    beyond = [0.0 if math.isfinite(end) else _UNSEEN for end in (low, high)]
    below = beyond[0] + np.append(0.0, np.cumsum(rows))
    above = beyond[1] + np.append(np.cumsum(rows[::-1])[::-1], 0.0)
    z = _normal_quantiles(below, above)
    return Fit(knots, z, (_tail(knots, z), _tail(-knots[::-1], -z[::-1])))


def _inside(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Which of the values (N,) are in the place of an atom."""
    within = (values[:, None] >= places[:, 0]) & (values[:, None] < places[:, 1])
    return np.asarray(within.any(1))


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
