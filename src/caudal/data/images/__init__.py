"""Images: what they are, where they come from, and how samples go back to files."""

from caudal.data.images.dataset import ImageDataset
from caudal.data.images.schema import DEQUANTIZATIONS, PIXELS, ImageSchema

__all__ = ["DEQUANTIZATIONS", "PIXELS", "ImageDataset", "ImageSchema"]
