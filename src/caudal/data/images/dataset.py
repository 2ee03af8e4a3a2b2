"""Images made ready for a flow: what they are, and their rows in three parts."""

from dataclasses import dataclass

from caudal.data.images.schema import ImageSchema
from caudal.data.source import Rows


@dataclass(frozen=True)
class ImageDataset:
    """Images of one shape in three parts; uint8 (N, C, H, W) in each, values 0 .. 2^bits - 1.

    Attributes:
        name: what the user called it.
        schema: what the images are.
        train, valid, test: the images, with the code of their class as context if asked for.
        notes: what the user should know, such as "skipped 2 files that are no images".
    """

    name: str
    schema: ImageSchema
    train: Rows
    valid: Rows
    test: Rows
    notes: tuple[str, ...] = ()
