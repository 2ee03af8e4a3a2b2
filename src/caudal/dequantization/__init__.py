"""From data that come in steps, or are missing, to numbers a continuous flow can model."""

from caudal.dequantization.audio import AudioDequantization
from caudal.dequantization.image import (
    ImageDequantization,
    PixelDequantization,
    VariationalDequantization,
)
from caudal.dequantization.protocol import Dequantization
from caudal.dequantization.table import TableDequantization

__all__ = [
    "AudioDequantization",
    "Dequantization",
    "ImageDequantization",
    "PixelDequantization",
    "TableDequantization",
    "VariationalDequantization",
]
