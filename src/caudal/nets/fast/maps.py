"""The elementwise maps from noise to data, of one number: compiled twins of `caudal.elementwise`.

Each map takes a number z, an array of its parameters (P,), and its constants. It returns x and
log dx/dz, and may overwrite the parameters. All of them are double, so that Numba compiles each
map once for every precision of nets. A test holds each equal to its tensor version. Division by
zero does not raise: where the curve is too steep for Newton's method, the bracket is halved.
"""

import math
from functools import partial

from numba import njit as compiled

njit = partial(compiled, error_model="numpy")
SHIFT, AFFINE, SPLINE, LOGISTICS, HISTOGRAM, SCALED = range(6)
NOTHING = 1e-38
"""What is zero to nets in single precision, whose noise reaches its ends once in 10^7 samples."""


@njit()
def shift_of(floor):
    """The shift that makes a floored log-scale zero at zero; 0 without a floor."""
    return math.log(-math.expm1(floor)) if floor < 0 else 0.0


@njit()
def log_scale_of(raw, bound, floor, shift):
    """A log-scale kept within the bound or, with a floor below 0, above that."""
    if floor < 0:
        raw = raw - floor + shift
        return floor + max(raw, 0.0) + math.log1p(math.exp(-abs(raw)))
    return raw / (1 + abs(raw) / bound)


@njit()
def shift(z, params, constants):
    """The sum z + t."""
    return z + params[0], 0.0 * z


@njit()
def affine(z, params, constants):
    """The affine map z exp(alpha) + mu; constants: the bound of alpha, its floor or 0 for none."""
    alpha = log_scale_of(params[1], constants[0], constants[1], shift_of(constants[1]))
    return z * math.exp(alpha) + params[0], alpha


@njit()
def scaled(z, params, constants):
    """The value (z - t) / s; constants: which scale, its bound or 0 for none, its floor."""
    which, raw = int(constants[0]), params[1]
    if which == 0:
        log_scale = raw / (1 + abs(raw) / constants[1]) if constants[1] > 0 else raw
    elif which == 1:
        log_scale = math.log(_softplus(raw) + constants[2])
    elif which == 2:
        log_scale = math.log(1 / (1 + math.exp(-raw - 2)) + constants[2])
    else:
        log_scale = _softplus(-raw - 2)
    return (z - params[0]) * math.exp(-log_scale), -log_scale


@njit()
def _softplus(raw):
    return max(raw, 0.0) + math.log1p(math.exp(-abs(raw)))


@njit()
def spline(z, params, constants):
    """The spline solved for x; constants: bins, bound, smallest size and slope of a bin."""
    bins, bound, min_slope = int(constants[0]), constants[1], constants[3]
    if not abs(z) <= bound:
        return z, z - z
    v, slopes = (z / bound + 1) / 2, params[2 * bins :]
    index, bottom, height = _find(v, params[bins : 2 * bins], bins, constants[2])
    _, left, width = _find(2.0, params[:bins], index, constants[2])
    before = slopes[index - 1] if index > 0 else z - z
    after = slopes[index] if index < bins - 1 else z - z
    d0, d1 = _slope(before, min_slope), _slope(after, min_slope)
    return _solved(z, (v, bound), (left, width, bottom, height), (d0, d1))


@njit()
def soft_spline(z, params, constants):
    """The spline with softly bounded parameters; constants: bins, bound, nothing, least slope."""
    bins, bound, limit = int(constants[0]), constants[1], -math.log(constants[3])
    if not abs(z) <= bound:
        return z, z - z
    for k in range(2 * bins):
        params[k] = params[k] / (1 + 2 * abs(params[k]) / limit)
    v, slopes = (z / bound + 1) / 2, params[2 * bins :]
    index, bottom, height = _find(v, params[bins : 2 * bins], bins, 0.0)
    _, left, width = _find(2.0, params[:bins], index, 0.0)
    before = slopes[index - 1] if index > 0 else z - z
    after = slopes[index] if index < bins - 1 else z - z
    d0 = math.exp(before / (1 + abs(before) / limit))
    d1 = math.exp(after / (1 + abs(after) / limit))
    return _solved(z, (v, bound), (left, width, bottom, height), (d0, d1))


@njit()
def _solved(z, at, piece, slopes):
    """The point of a piece at which the spline has the value at[0], in the unit square."""
    (v, bound), (left, width, bottom, height), (d0, d1) = at, piece, slopes
    chord = height / width
    bend = d0 + d1 - 2 * chord
    above = max(v - bottom, z - z)
    a = height * (chord - d0) + above * bend
    b = height * d0 - above * bend
    c = -chord * above
    root = math.sqrt(max(b * b - 4 * a * c, z - z))
    xi = 2 * c / (-b - root) if b + root > 0 else z - z
    xi = min(max(xi, 0.0), 1.0)
    between = xi * (1 - xi)
    rise = d1 * xi * xi + 2 * chord * between + d0 * (1 - xi) * (1 - xi)
    slope = chord * chord * rise / (chord + bend * between) ** 2
    return (2 * (left + xi * width) - 1) * bound, -math.log(slope)


@njit()
def _find(value, params, stop, min_size):
    """The bin that holds a value, or bin `stop` if that comes first: its index, start and size."""
    bins, largest = len(params), params[0]
    for k in range(1, bins):
        largest = max(largest, params[k])
    total = 0.0
    for k in range(bins):
        total += math.exp(params[k] - largest)
    start = 0.0
    for k in range(bins):
        share = math.exp(params[k] - largest) / total
        size = min_size + (1 - min_size * bins) * share
        if k == stop or k == bins - 1 or value < start + size:
            break
        start += size
    return k, start, size


@njit()
def _slope(raw, min_slope):
    """A softplus, shifted so that it is 1 at zero."""
    raw = raw + math.log(math.expm1(1 - min_slope))
    return min_slope + max(raw, 0.0) + math.log1p(math.exp(-abs(raw)))


@njit()
def histogram(z, params, constants):
    """The bin that z falls in, and its position within; constants: bins."""
    bins = int(constants[0])
    if not abs(z) <= 1:
        return z, z - z
    largest = params[0]
    for k in range(1, bins):
        largest = max(largest, params[k])
    total = 0.0
    for k in range(bins):
        total += math.exp(params[k] - largest)
    unit = (z + 1.0) / 2 * total
    index, low, weight, end = 0, 0.0, 0.0, 0.0
    for k in range(bins):
        share = math.exp(params[k] - largest)
        if share <= NOTHING:  # such a bin is never drawn
            continue
        index, low, weight = k, end, share
        end += share
        if not unit >= end:
            break
    within = min(max((unit - low) / weight, 0.0), 1.0)
    return 2 * (index + within) / bins - 1, -math.log(weight / total * bins)


@njit()
def logistics(z, params, constants):
    """The mixture's CDF solved for x; constants: components, the bound of log-scales, the floor.

    Newton's method on the logit of the CDF, in double precision, within a bracket that starts as
    the components' own quantiles. The bracket is halved instead where a step is more than half as
    long as the one before.
    """
    low, high, x = _prepare(z, params, constants)
    count = int(constants[0])
    step = before = high - low
    for _ in range(200):
        cdf, survival, density = _mixture(x, params, count)
        miss = math.log(cdf / survival) - z
        if not abs(miss) > 1e-14 * (1 + abs(z)):  # less than the error of the sums
            break
        if miss > 0:
            high = x
        else:
            low = x
        before, step = step, miss * cdf * survival / density
        if not (low < x - step < high and 2 * abs(step) <= abs(before)):
            step = x - (low + high) / 2
        x -= step
        if not abs(step) > 2e-16 * abs(x):
            break
    cdf, survival, density = _mixture(x, params, count)
    return x, math.log(cdf * survival / density)


@njit()
def _prepare(z, params, constants):
    """Least, greatest and mean quantile of the components.

    It replaces their logits and raw log-scales by weights and precisions.
    """
    count, bound, floor = int(constants[0]), constants[1], constants[2]
    offset = shift_of(floor)
    largest = params[0]
    for k in range(1, count):
        largest = max(largest, params[k])
    total = 0.0
    for k in range(count):
        params[k] = math.exp(params[k] - largest)
        total += params[k]
    low, high, mean = math.inf, -math.inf, 0.0
    for k in range(count):
        log_scale = log_scale_of(params[k + 2 * count], bound, floor, offset)
        quantile = params[k + count] + z * math.exp(log_scale)
        low, high = min(low, quantile), max(high, quantile)
        params[k] /= total
        params[k + 2 * count] = math.exp(-log_scale)
        mean += params[k] * quantile
    return low, high, min(max(mean, low), high)


@njit()
def _mixture(x, params, count):
    """CDF, survival and density at x, from weights, means and precisions."""
    cdf = survival = density = 0.0
    for k in range(count):
        precision = params[k + 2 * count]
        standard = (x - params[k + count]) * precision
        tail = math.exp(-abs(standard))
        above = params[k] / (1 + tail)
        below = above * tail
        cdf += above if standard > 0 else below
        survival += below if standard > 0 else above
        density += below / (1 + tail) * precision
    return cdf, survival, density


@njit(cache=True)
def forward(kind, z, params, constants):
    """The map of a kind, which is a number: loops that take functions cannot be cached on disk."""
    if kind == SHIFT:
        return shift(z, params, constants)
    if kind == AFFINE:
        return affine(z, params, constants)
    if kind == SPLINE:
        return spline(z, params, constants)
    if kind == LOGISTICS:
        return logistics(z, params, constants)
    if kind == HISTOGRAM:
        return histogram(z, params, constants)
    if kind == SCALED:
        return scaled(z, params, constants)
    return soft_spline(z, params, constants)
