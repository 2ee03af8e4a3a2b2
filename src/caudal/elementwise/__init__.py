"""Increasing maps of one number, given parameters: the maps inside couplings and causal layers."""

from caudal.elementwise.affine import Affine, GatedAffine, Shift
from caudal.elementwise.analytic import SinhConjugation
from caudal.elementwise.cdf import Histogram, MixtureGaussian, MixtureLogistic
from caudal.elementwise.protocol import Elementwise, Scalar, Swapped, check_params
from caudal.elementwise.scaled import ScaledShift
from caudal.elementwise.spline import (
    CircularSpline,
    RationalQuadraticSpline,
    SoftSpline,
    wrapped,
)

__all__ = [
    "Affine",
    "CircularSpline",
    "Elementwise",
    "GatedAffine",
    "Histogram",
    "MixtureGaussian",
    "MixtureLogistic",
    "RationalQuadraticSpline",
    "Scalar",
    "ScaledShift",
    "Shift",
    "SinhConjugation",
    "SoftSpline",
    "Swapped",
    "check_params",
    "wrapped",
]
