"""The elementwise maps from noise to data, of one number: compiled twins of `caudal.elementwise`.

Each takes a number z, the parameters (rows, B) with the row and the column where its own start,
and its constants; it gives x and log dx/dz, and may write over the parameters. A test holds each
equal to its tensor version. Division by zero does not raise: what is steep is halved, not lost.
"""

import math

from caudal.kernels.mixtures import logistics
from caudal.kernels.scales import log_scale_of, njit, shift_of

SHIFT, AFFINE, SPLINE, LOGISTICS = range(4)


@njit()
def forward(kind, z, params, row, column, constants):
    """The map of that kind: a number, for a loop that takes functions is not kept on disk."""
    if kind == SHIFT:
        return shift(z, params, row, column, constants)
    if kind == AFFINE:
        return affine(z, params, row, column, constants)
    if kind == SPLINE:
        return spline(z, params, row, column, constants)
    if kind == LOGISTICS:
        return logistics(z, params, row, column, constants)
    return histogram(z, params, row, column, constants)


@njit()
def shift(z, params, row, column, constants):
    """The sum z + t."""
    return z + params[row, column], 0.0 * z


@njit()
def affine(z, params, row, column, constants):
    """The affine map z exp(alpha) + mu; constants: the bound of alpha, its floor or 0 for none."""
    alpha = log_scale_of(
        params[row + 1, column], constants[0], constants[1], shift_of(constants[1])
    )
    return z * math.exp(alpha) + params[row, column], alpha


@njit()
def spline(z, params, row, column, constants):
    """The spline solved for x; constants: bins, bound, smallest size and slope of a bin."""
    bins, bound, min_slope = int(constants[0]), constants[1], constants[3]
    if not abs(z) <= bound:
        return z, z - z
    v = (z / bound + 1) / 2
    widths, heights, slopes = row, row + bins, row + 2 * bins
    index, bottom, height = _find(v, params, heights, column, bins, bins, constants[2])
    _, left, width = _find(2.0, params, widths, column, bins, index, constants[2])
    before = params[slopes + index - 1, column] if index > 0 else z - z
    after = params[slopes + index, column] if index < bins - 1 else z - z
    d0, d1 = _slope(before, min_slope), _slope(after, min_slope)
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
def _find(value, params, row, column, bins, stop, min_size):
    """The bin that holds a value, or bin `stop` if that comes first: index, start and size."""
    largest = params[row, column]
    for k in range(1, bins):
        largest = max(largest, params[row + k, column])
    total = largest - largest
    for k in range(bins):
        total += math.exp(params[row + k, column] - largest)
    start = total - total
    for k in range(bins):
        share = math.exp(params[row + k, column] - largest) / total
        size = min_size + (1 - min_size * bins) * share
        if k == stop or k == bins - 1 or value < start + size:
            break
        start += size
    return k, start, size


@njit()
def _slope(raw, min_slope):
    """softplus, shifted so that it is 1 at zero."""
    raw = raw + math.log(math.expm1(1 - min_slope))
    return min_slope + max(raw, 0.0) + math.log1p(math.exp(-abs(raw)))


@njit()
def histogram(z, params, row, column, constants):
    """The bin that z falls in, and its place within; constants: bins."""
    bins = int(constants[0])
    if not abs(z) <= 1:
        return z, z - z
    largest = params[row, column]
    for k in range(1, bins):
        largest = max(largest, params[row + k, column])
    total = 0.0
    for k in range(bins):
        total += math.exp(params[row + k, column] - largest)
    unit = (z + 1.0) / 2 * total
    index, low, weight, end = 0, 0.0, 0.0, 0.0
    for k in range(bins):
        share = math.exp(params[row + k, column] - largest)
        if not share <= 0:  # one that is not likely at all is never drawn
            index, low, weight = k, end, share
        end += share
        if not unit >= end:
            break
    within = min(max((unit - low) / weight, 0.0), 1.0)
    return 2 * (index + within) / bins - 1, -math.log(weight / total * bins)
