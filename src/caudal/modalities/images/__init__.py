"""Images of one shape: folders, arrays, IDX and Parquet files, the Hugging Face hub."""

from caudal.modalities.images.images import Images

__all__ = ["Images"]
