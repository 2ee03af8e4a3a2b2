"""The mixture of logistics from noise to data, of one number (see `caudal.kernels.maps`)."""

import math

from caudal.kernels.scales import log_scale_of, njit, shift_of


@njit()
def logistics(z, params, row, column, constants):
    """The mixture's CDF solved for x; constants: components, the bound of log-scales, the floor.

    Newton's method on the logit of the CDF, in double precision, kept between the components'
    own quantiles, which halve where a step is not twice as short as the one before.
    """
    low, high, x = _prepare(z, params, row, column, constants)
    count = int(constants[0])
    step = before = high - low
    for _ in range(200):
        cdf, survival, density = _mixture(x, params, row, column, count)
        miss = math.log(cdf / survival) - z
        if not abs(miss) > 1e-14 * (1 + abs(z)):  # below it is the error of the sums
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
    cdf, survival, density = _mixture(x, params, row, column, count)
    return x, math.log(cdf * survival / density)


@njit()
def _prepare(z, params, row, column, constants):
    """Least, greatest and mean quantile of the components.

    In the place of their logits and raw log-scales come weights and precisions.
    """
    count, bound, floor = int(constants[0]), constants[1], constants[2]
    offset = shift_of(floor)
    largest = params[row, column]
    for k in range(1, count):
        largest = max(largest, params[row + k, column])
    total = 0.0
    for k in range(row, row + count):
        params[k, column] = math.exp(params[k, column] - largest)
        total += params[k, column]
    low, high, mean = math.inf, -math.inf, 0.0
    for k in range(row, row + count):
        log_scale = log_scale_of(params[k + 2 * count, column], bound, floor, offset)
        quantile = params[k + count, column] + z * math.exp(log_scale)
        low, high = min(low, quantile), max(high, quantile)
        params[k, column] /= total
        params[k + 2 * count, column] = math.exp(-log_scale)
        mean += params[k, column] * quantile
    return low, high, min(max(mean, low), high)


@njit()
def _mixture(x, params, row, column, count):
    """CDF, survival and density at x, of weights, means and precisions."""
    cdf = survival = density = 0.0
    for k in range(row, row + count):
        precision = params[k + 2 * count, column]
        standard = (x - params[k + count, column]) * precision
        tail = math.exp(-abs(standard))
        above = params[k, column] / (1 + tail)
        below = above * tail
        cdf += above if standard > 0 else below
        survival += below if standard > 0 else above
        density += below / (1 + tail) * precision
    return cdf, survival, density
