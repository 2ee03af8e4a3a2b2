"""Invertible layers. They know nothing of the nets that steer them: the two meet in recipes."""

from caudal.bijections.autoregressive import Autoregressive, by_sweeps
from caudal.bijections.companding import MuLaw
from caudal.bijections.conv1x1 import Conv1x1, LUConv1x1
from caudal.bijections.coupling import Coupling
from caudal.bijections.linear import Flip, LULinear, Permutation
from caudal.bijections.normalization import ActNorm, BatchNorm, Standardise
from caudal.bijections.pointwise import Logit, Pointwise, Rescale, Scale, Support
from caudal.bijections.residual import Residual
from caudal.bijections.shape import FactorOut, Flattened, Squeezed
from caudal.bijections.triangular import Triangular
from caudal.bijections.whitening import ZCA

__all__ = [
    "ZCA",
    "ActNorm",
    "Autoregressive",
    "BatchNorm",
    "Conv1x1",
    "Coupling",
    "FactorOut",
    "Flattened",
    "Flip",
    "LUConv1x1",
    "LULinear",
    "Logit",
    "MuLaw",
    "Permutation",
    "Pointwise",
    "Rescale",
    "Residual",
    "Scale",
    "Squeezed",
    "Standardise",
    "Support",
    "Triangular",
    "by_sweeps",
]
