"""caudal: normalizing flows with exact densities and fast sampling, both ways."""

from caudal import recipes
from caudal.bijection import Bijection, Chain, Inverse
from caudal.errors import InputError, NumericalError
from caudal.flow import Flow
from caudal.initialization import calibrate, initialize

__all__ = [
    "Bijection",
    "Chain",
    "Flow",
    "InputError",
    "Inverse",
    "NumericalError",
    "calibrate",
    "initialize",
    "recipes",
]
