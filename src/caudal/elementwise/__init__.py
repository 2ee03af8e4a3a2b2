"""Maps of one number to one number, given parameters: what couplings and causal nets steer."""

from caudal.elementwise.affine import Affine, GatedAffine, Shift
from caudal.elementwise.histogram import Histogram
from caudal.elementwise.mixture import MixtureGaussian, MixtureLogistic
from caudal.elementwise.protocol import Elementwise, Scalar, check_params
from caudal.elementwise.spline import RationalQuadraticSpline
from caudal.elementwise.swapped import Swapped

__all__ = [
    "Affine",
    "Elementwise",
    "GatedAffine",
    "Histogram",
    "MixtureGaussian",
    "MixtureLogistic",
    "RationalQuadraticSpline",
    "Scalar",
    "Shift",
    "Swapped",
    "check_params",
]
