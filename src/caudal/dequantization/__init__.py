"""Data in steps, or with missing values, to numbers a continuous flow can model."""

from caudal.dequantization.integers import (
    AudioDequantization,
    ImageDequantization,
    IntegerDequantization,
    PixelDequantization,
    VariationalDequantization,
)
from caudal.dequantization.protocol import Dequantization
from caudal.dequantization.table import TableDequantization

__all__ = [
    "AudioDequantization",
    "Dequantization",
    "ImageDequantization",
    "IntegerDequantization",
    "PixelDequantization",
    "TableDequantization",
    "VariationalDequantization",
]
