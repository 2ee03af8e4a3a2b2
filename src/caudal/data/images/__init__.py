"""Images: what they are, where they come from, and how samples go back to files."""

from caudal.data.files.jobs import CORRUPT
from caudal.data.images.mask import hidden_pixels
from caudal.data.images.open import (
    finds_images,
    labels_of_part,
    open_images,
    open_labels,
    open_whole,
)
from caudal.data.images.output import ImageWriter, write_grid
from caudal.data.images.schema import DEQUANTIZATIONS, PIXELS, ImageSchema

__all__ = [
    "CORRUPT",
    "DEQUANTIZATIONS",
    "PIXELS",
    "ImageSchema",
    "ImageWriter",
    "finds_images",
    "hidden_pixels",
    "labels_of_part",
    "open_images",
    "open_labels",
    "open_whole",
    "write_grid",
]
