"""Distribution functions of columns, fitted to their values."""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch

from caudal.bijections.curves import PIECES, SHAPE, Curves, Fit, pieces_of, stack, to_z
from caudal.bijections.weighted import Values

_SIZES = (8, 16, 32, 64, 128, 256)  # to choose from, by the likelihood of rows left out
_FEW = 8  # values, of which a normal is all that can be told
_ROWS_A_PIECE = 8  # at least
_MANY = 2000  # rows, of which one half may judge the other
_FOLDS = 4  # of fewer rows
_NORMAL = 64  # pieces of a normal
_DOUBT = 0.5  # standard errors by which a normal may be bettered and is still kept
_ROWS_TO_CHOOSE = 20_000  # on which the number of pieces is chosen
_TAIL = 0.05  # share of the rows whose slope is that of the tail beyond them
_LIGHT = 4.0  # powers of e by which a light tail falls exponentially: hardly a sample is further
_FEW_OUTER = 10  # rows, which do not tell how heavy a tail is
_HEAVY = 4 / 3  # squared variation of the excess in a tail of shape 1/8, half of SHAPE
_NEAREST = 1 / 3  # of its first scale, to which that of a bounded tail shrinks towards its end
_Z_TAIL = float(torch.special.ndtri(torch.tensor(_TAIL)))
_REACH = 1e6  # times the spread of the middle half
_STRAY = 0.01  # share of the values, which may be slips; more are a mode of their own
_DOUBLINGS = 8  # of the distance to the data, between them and an end far from them
_FAR_OUT = 7  # standard deviations
_UNSEEN = 0.5  # what an empty interval counts for, in rows


def fit(values: Values, low: float, high: float, step: float, places: np.ndarray) -> Fit:
    """The curve of a column, from its values.

    `places` (A, 2) are the starts and ends of the places of atoms, each of which is a piece of its
    own; a column with atoms is no normal.

    It is a normal, unless rows left out of the fit speak against that by more than half a
    standard error of their mean likelihood. Else they decide how many quantiles are taken, and
    whether as many values of a normal are put beside the column's own, which steadies few rows.
    """
    if values.n < _FEW:
        return _normal(values, low, high, step, places)
    values = _within_reach(values)
    n, ends = values.n, (low, high, step, places)
    cells = (values.x[-1] - values.x[0]) / step + 1 if step else math.inf
    if cells <= min(PIECES // 4, n / _ROWS_A_PIECE):
        return _knots(values, PIECES, *ends)  # the histogram itself
    order = np.random.default_rng(0).permutation(len(values.x))[:_ROWS_TO_CHOOSE]
    folds = 2 if n >= _MANY else _FOLDS
    rows = values.take(np.sort(order)).n * (1 - 1 / folds)
    most = min(rows / _ROWS_A_PIECE, PIECES // 4 if step else PIECES)
    sizes = [size for size in _SIZES if size <= most] or _SIZES[:1]
    choices: list[Callable[..., Fit]] = [partial(_knots, pieces=size) for size in sizes]
    if not len(places):
        choices = [_normal, *choices]
    if n < _MANY and not len(places):
        choices += [partial(_steadied, pieces=size) for size in sizes]
    scores, judged = [], []
    for fold in range(1 if n >= _MANY else folds):
        is_out = np.arange(len(order)) % folds == fold
        some = values.take(np.sort(order[~is_out]))
        fits = [choose(some, low=low, high=high, step=step, places=places) for choose in choices]
        scores.append(_log_densities(values.x[order[is_out]], fits, step, places))
        judged.append(values.each[order[is_out]])
    likelihood, weights = np.concatenate(scores), np.concatenate(judged)
    best = int(np.average(likelihood, 0, weights).argmax())
    gain = Values.of(likelihood[:, best] - likelihood[:, 0], weights)
    if gain.mean() <= _DOUBT * gain.std() / math.sqrt(gain.n):
        best = 0
    return choices[best](values, low=low, high=high, step=step, places=places)


def _within_reach(values: Values) -> Values:
    """The values but a few far out, up to which 32 bits have no slope: the tail has them."""
    low, median, high = values.quantile(np.array([0.25, 0.5, 0.75]))
    near = values.take(np.abs(values.x - median) <= _REACH * (high - low))
    few = len(values.x) - len(near.x) <= max(1, _STRAY * len(values.x))
    return near if high > low and few else values


def _log_densities(
    values: np.ndarray, fits: list[Fit], step: float, places: np.ndarray
) -> np.ndarray:
    """Log-densities of values (N,) under each fit, up to a constant: (N, fits)."""
    tables = stack(fits, torch.float64)
    steps = torch.full((len(fits),), step, dtype=torch.float64)
    own = torch.from_numpy(places).expand(len(fits), -1, -1)
    pieces, scale = pieces_of(tables["x"], tables["z"], steps, own)
    curves = Curves(**tables, pieces=pieces, scale=scale)
    z, log_slope = to_z(torch.from_numpy(values)[:, None].expand(-1, len(fits)), curves)
    return (log_slope - 0.5 * z.square()).numpy()


def _normal(values: Values, low: float, high: float, step: float, places: np.ndarray) -> Fit:
    """The normal of the values' mean and deviation; what lies beyond an end is at that end."""
    mean, std = values.mean(), max(values.std(), 1e-3 * max(abs(values.mean()), 1.0))
    end = float(torch.special.ndtri(torch.tensor(_UNSEEN / (values.n + 2 * _UNSEEN))))
    z = np.linspace(end, -end, _NORMAL + 1)
    outer = np.arange(math.ceil(-end), _FAR_OUT)
    if math.isfinite(low):
        z = np.append(-outer[::-1], z)
    if math.isfinite(high):
        z = np.append(z, outer)
    knots = mean + std * z
    inside = (knots > low) & (knots < high)
    if inside.sum() < 2:
        return _knots(values, _SIZES[0], low, high, step, places)
    knots, z = knots[inside], z[inside]
    if math.isfinite(low):
        knots, z = np.append(low, knots), np.append(-np.inf, z)
    if math.isfinite(high):
        knots, z = np.append(knots, high), np.append(z, np.inf)
    return _with_light(Fit(knots, z, (1 / std, 1 / std)), values)


def _steadied(
    values: Values, pieces: int, low: float, high: float, step: float, places: np.ndarray
) -> Fit:
    """The curve through quantiles of the values and of as many of their normal."""
    count = round(values.n)
    levels = torch.from_numpy((np.arange(count) + 0.5) / count)
    normal = values.mean() + values.std() * torch.special.ndtri(levels).numpy()
    normal = normal[(normal > low) & (normal < high)]
    weights = np.append(values.each, np.ones(len(normal)))
    both = Values.of(np.append(values.x, normal), weights)
    return _knots(both, pieces, low, high, step, places, values.n / both.n)


def _knots(
    values: Values,
    pieces: int,
    low: float,
    high: float,
    step: float,
    places: np.ndarray,
    weight: float = 1.0,
) -> Fit:
    """The curve through about `pieces` quantiles, and the ends; a value counts `weight`."""
    n = values.n
    rest = values.take(~_inside(values.x, places))
    rest = rest if len(rest.x) else values
    knots = rest.quantile(_levels(rest.n, pieces))
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
    counts = values.below(knots[1:-1])
    if math.isfinite(low) and len(counts) and knots[1] == np.float32(values.x[0]):
        counts[0] = 0  # the outermost values, rounded, are knots, with no row beyond them
    if math.isfinite(high) and len(counts) and knots[-2] == np.float32(values.x[-1]):
        counts[-1] = n
    seen = np.diff(counts, prepend=0, append=n) * weight
    rows = np.maximum(seen, _UNSEEN)
    beyond = [0.0 if math.isfinite(end) else _UNSEEN for end in (low, high)]
    below = beyond[0] + np.append(0.0, np.cumsum(rows))
    above = beyond[1] + np.append(np.cumsum(rows[::-1])[::-1], 0.0)
    z = _normal_quantiles(below, above)
    steep = Fit(knots, z, (_tail(knots, z), _tail(-knots[::-1], -z[::-1])))
    _, _, tails, light = _with_light(steep, values)
    if math.isfinite(low) and not seen[0]:
        knots, z = _thinned(knots, z, step)
    if math.isfinite(high) and not seen[-1]:
        mirrored, z = _thinned(-knots[::-1], -z[::-1], step)
        knots, z = -mirrored[::-1], -z[::-1]
    return Fit(knots, z, tails, light)


def _thinned(knots: np.ndarray, z: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """The knots, with more of them where no row lies between the first one, an end, and the next.

    There F falls off towards the end as it does beyond the data where there is no end: a year 701
    must not be as likely as 1988 because years begin at 0.
    """
    first, width = knots[1], knots[1] - knots[0]
    inner = min(max(int(np.searchsorted(z, _Z_TAIL)), 2), len(knots) - 1)
    below = torch.special.ndtr(torch.from_numpy(z)).numpy()
    # How far F goes up by a factor e among the outer rows.
    scale = (knots[inner] - first) / max(math.log(below[inner] / below[1]), 1.0)
    scale = max(scale, step)
    distance = scale * 2.0 ** np.arange(_DOUBLINGS)
    if step:
        distance = step * np.ceil(distance / step)
    more = np.unique((first - distance[distance < width]).astype(np.float32)).astype(float)
    more = more[(more > knots[0]) & (more < first)]
    share = (1 + SHAPE * (first - more) / scale) ** (-1 / SHAPE)
    outer = torch.special.ndtri(torch.from_numpy(below[1] * share)).numpy()
    return np.insert(knots, 1, more), np.insert(z, 1, outer)


def _inside(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Which of the values (N,) are in the place of an atom."""
    within = (values[:, None] >= places[:, 0]) & (values[:, None] < places[:, 1])
    return np.asarray(within.any(1))


def _levels(n: float, pieces: int) -> np.ndarray:
    """Levels of quantiles: evenly spaced, and halved again and again towards either end."""
    inner = np.arange(1, pieces) / pieces
    halvings = max(0, int(math.log2(max(n / pieces / 2, 1))))
    outer = 0.5 ** np.arange(1, halvings + 1) / pieces
    return np.concatenate([[0.0], outer[::-1], inner, 1 - outer, [1.0]])


def _edges(values: Values, knots: np.ndarray, pieces: int, low: float, step: float) -> np.ndarray:
    """Knots moved to the ends of cells; cells with the rows of a piece are pieces of their own."""
    origin = low if math.isfinite(low) else 0.0
    cells = np.floor((values.x - origin) / step)
    filled, which = np.unique(cells, return_inverse=True)
    counts = np.bincount(which, values.each)
    heavy = filled if len(filled) <= pieces // 4 else filled[counts * pieces > values.n]
    inner = np.floor((knots - origin) / step)
    last = [inner[-1] + 1]
    return origin + step * np.unique(np.concatenate([heavy, heavy + 1, inner, last]))


def _normal_quantiles(below: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Phi^-1(below / total), from whichever end is nearer."""
    total = torch.from_numpy(below + above)
    lower = torch.special.ndtri(torch.from_numpy(below) / total)
    upper = -torch.special.ndtri(torch.from_numpy(above) / total)
    return torch.where(lower < 0, lower, upper).numpy()


def _with_light(fit: Fit, values: Values) -> Fit:
    """The fit, of which tails that are light in the values are so beyond them."""
    mirrored = Values(-values.x[::-1], None if values.weights is None else values.weights[::-1])
    slopes, light = list(fit.tails), [0.0, 0.0]
    for k, side in enumerate((mirrored, values)):
        start, end = abs(fit.z[-k]), fit.x[-k] if k else -fit.x[0]
        rate = _light_rate(side, end) if math.isfinite(start) and start > 0 else None
        if rate is not None:
            slopes[k], light[k] = max(slopes[k], rate / start), _LIGHT
    return fit._replace(tails=(slopes[0], slopes[1]), light=(light[0], light[1]))


def _light_rate(values: Values, end: float) -> float | None:
    """The rate a at which a light upper tail falls at its end; None if the tail is heavy.

    The outer values, less the one where they begin, have in a generalised Pareto law of shape xi
    and scale s the mean m = s / (1 - xi) and the variance m^2 / (1 - 2 xi). Above `end` the law
    has the scale s + xi (end - start), which is 1 / a; a bounded tail keeps a third of s. Values
    that lie well beyond the bound of their law show that it is none.
    Reference: Hosking and Wallis, Parameter and quantile estimation for the generalized Pareto
    distribution, 1987.
    """
    start = float(values.quantile(np.array([1 - _TAIL]))[0])
    outer = values.take(values.x > start)
    if len(outer.x) == 0 or outer.n < _FEW_OUTER:
        return None
    mean, variance = outer.mean() - start, outer.std() ** 2
    if not 0 < variance < _HEAVY * mean**2:
        return None
    shape = min(max((1 - mean**2 / variance) / 2, -1.0), 0.0)
    scale = mean * (1 - shape)
    left = scale + shape * (end - start)
    return None if left < -_NEAREST * scale else 1 / max(left, _NEAREST * scale)


def _tail(knots: np.ndarray, z: np.ndarray) -> float:
    """The slope of the tail before the first knot: the mean slope of the outer rows."""
    if not math.isfinite(z[0]):
        return 1.0
    stop = int(np.searchsorted(z, _Z_TAIL))
    stop = min(max(stop, 1), len(z) - 1)
    stop = stop if math.isfinite(z[stop]) else 1
    rise = z[stop] - z[0] if math.isfinite(z[stop]) else 1.0
    return float(rise / (knots[stop] - knots[0]))
