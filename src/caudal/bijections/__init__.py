"""Invertible layers. They know nothing of the nets that steer them: the two meet in recipes."""

from caudal.bijections.autoregressive import Autoregressive
from caudal.bijections.coupling import Coupling
from caudal.bijections.linear import Flip, LULinear, Permutation
from caudal.bijections.normalization import ActNorm, BatchNorm, Standardise
from caudal.bijections.pointwise import Logit, Pointwise, Scale, Support

__all__ = [
    "ActNorm",
    "Autoregressive",
    "BatchNorm",
    "Coupling",
    "Flip",
    "LULinear",
    "Logit",
    "Permutation",
    "Pointwise",
    "Scale",
    "Standardise",
    "Support",
]
