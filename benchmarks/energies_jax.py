"""The targets of `energies.py` for FlowJAX: log-densities of one row x (D,), in JAX."""

import math

import jax.numpy as jnp
from jax.scipy.special import logsumexp

from caudal.targets import DW4, LJ13, EightSchools, FortyGaussians

_CENTRES = jnp.asarray(FortyGaussians().centres.numpy())
_WIDTH = FortyGaussians.width
_LOG_2PI = math.log(2 * math.pi)
_SCHOOLS = EightSchools()
_EFFECTS, _ERRORS = jnp.asarray(_SCHOOLS._y.numpy()), jnp.asarray(_SCHOOLS._s.numpy())


def banana(x):
    return -0.5 * ((x[0] / 2) ** 2 + (x[1] - 0.25 * (x[0] ** 2 - 4)) ** 2)


def funnel(x):
    neck = -0.5 * (x[0] / 3) ** 2 - math.log(3)
    return neck - 0.5 * (jnp.sum(x[1:] ** 2) * jnp.exp(-x[0]) + 9 * x[0]) - 5 * _LOG_2PI


def forty_gaussians(x):
    squares = jnp.sum(((x - _CENTRES) / _WIDTH) ** 2, axis=1)
    return logsumexp(-0.5 * squares) - math.log(40) - _LOG_2PI - 2 * math.log(_WIDTH)


def many_well(x):
    a, b = x[::2], x[1::2]
    return jnp.sum(-(a**4) + 6 * a**2 + a / 2 - b**2 / 2)


def eight_schools(x):
    mu, log_tau, eta = x[0], x[1], x[2:]
    u = log_tau - math.log(5)
    prior = math.log(2 / math.pi) + u - jnp.logaddexp(0.0, 2 * u)  # half-Cauchy tau
    prior = prior - 0.5 * (mu / 5) ** 2 - math.log(5) - 0.5 * jnp.sum(eta**2)
    theta = mu + jnp.exp(jnp.minimum(log_tau, 40.0)) * eta
    fit = -0.5 * jnp.sum(((_EFFECTS - theta) / _ERRORS) ** 2) - jnp.sum(jnp.log(_ERRORS))
    return prior + fit - 0.5 * 17 * _LOG_2PI


def _distances(system):
    """The places of particles, of rows x, and the distances of all pairs."""
    basis = jnp.asarray(system._basis.numpy())
    first, second = (jnp.asarray(index.numpy()) for index in (system._first, system._second))

    def distances(x):
        places = basis @ x.reshape(system.count - 1, system.space)
        squares = jnp.sum((places[first] - places[second]) ** 2, axis=1)
        return jnp.sqrt(jnp.maximum(squares, 1e-12))

    return distances


_DW4, _LJ13 = _distances(DW4()), _distances(LJ13())
_CORE = LJ13._core


def dw4(x):
    u = _DW4(x) - 4
    return jnp.sum(4 * u**2 - 0.9 * u**4)


def lj13(x):
    distance = _LJ13(x)
    sixth = jnp.maximum(distance, _CORE) ** -6
    slope = 12 * (_CORE**-13 - _CORE**-7)
    pairs = -(sixth - 2) * sixth - slope * jnp.maximum(_CORE - distance, 0.0)
    return jnp.sum(pairs) - 0.5 * jnp.sum(x**2)


TARGETS = {
    "banana": banana,
    "funnel": funnel,
    "forty-gaussians": forty_gaussians,
    "many-well": many_well,
    "eight-schools": eight_schools,
    "dw4": dw4,
    "lj13": lj13,
}
