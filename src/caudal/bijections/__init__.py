"""Invertible layers. They know nothing of the nets inside them: the two meet in recipes."""

from caudal.bijections.atoms import Atoms
from caudal.bijections.autoregressive import Autoregressive, by_sweeps
from caudal.bijections.circle import Circle, Given, Latitude, Part, Uniformise, winds
from caudal.bijections.copula import Correlate, Gaussianise
from caudal.bijections.coupling import Coupling
from caudal.bijections.differences import Differences
from caudal.bijections.iterated import Residual, Triangular
from caudal.bijections.linear import Conv1x1, Flip, LUConv1x1, LULinear, Permutation
from caudal.bijections.measurement import SpectralUpdate
from caudal.bijections.normalization import (
    ZCA,
    ActNorm,
    BatchNorm,
    DataDependent,
    Decorrelate,
    Standardise,
)
from caudal.bijections.ordering import AnyOrder, in_order
from caudal.bijections.pointwise import Asinh, Logit, MuLaw, Pointwise, Rescale, Scale
from caudal.bijections.prediction import LinearPrediction, Prediction
from caudal.bijections.shape import Embedded, FactorOut, Flattened, Patches, Squeezed
from caudal.bijections.support import SoftClip, Support
from caudal.bijections.tokens import TokenCouplings

__all__ = [
    "ZCA",
    "ActNorm",
    "AnyOrder",
    "Asinh",
    "Atoms",
    "Autoregressive",
    "BatchNorm",
    "Circle",
    "Conv1x1",
    "Correlate",
    "Coupling",
    "DataDependent",
    "Decorrelate",
    "Differences",
    "Embedded",
    "FactorOut",
    "Flattened",
    "Flip",
    "Gaussianise",
    "Given",
    "LUConv1x1",
    "LULinear",
    "Latitude",
    "LinearPrediction",
    "Logit",
    "MuLaw",
    "Part",
    "Patches",
    "Permutation",
    "Pointwise",
    "Prediction",
    "Rescale",
    "Residual",
    "Scale",
    "SoftClip",
    "SpectralUpdate",
    "Squeezed",
    "Standardise",
    "Support",
    "TokenCouplings",
    "Triangular",
    "Uniformise",
    "by_sweeps",
    "in_order",
    "winds",
]
