"""The targets of `energies.py` for FlowJAX: log-densities of one row x (D,), in JAX."""

import math

import jax.numpy as jnp
from jax.scipy.special import logsumexp

from caudal.targets import FortyGaussians

_CENTRES = jnp.asarray(FortyGaussians().centres.numpy())
_WIDTH = FortyGaussians.width
_LOG_2PI = math.log(2 * math.pi)


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


TARGETS = {
    "banana": banana,
    "funnel": funnel,
    "forty-gaussians": forty_gaussians,
    "many-well": many_well,
}
