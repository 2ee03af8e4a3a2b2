"""Data in steps, or with missing values, to numbers that a continuous flow can model."""

from caudal.dequantization.integers import (
    AudioDequantization,
    ImageDequantization,
    IntegerDequantization,
    PixelDequantization,
    VariationalDequantization,
)
from caudal.dequantization.mass import log_mass
from caudal.dequantization.protocol import Dequantization
from caudal.dequantization.tables import TableDequantization

__all__ = [
    "AudioDequantization",
    "Dequantization",
    "ImageDequantization",
    "IntegerDequantization",
    "PixelDequantization",
    "TableDequantization",
    "VariationalDequantization",
    "log_mass",
]
