"""The images that come with caudal: scikit-learn's digits, 8x8 in 16 shades."""

import numpy as np

from caudal.data.images.arrays import array_pictures
from caudal.data.images.pictures import Found
from caudal.data.splits import TRAIN

NAMES = ("digits",)
BITS = 4


def read_built_in(name: str) -> Found:
    """The built-in images of one of `NAMES`, with their classes."""
    from sklearn.datasets import load_digits

    data = load_digits()
    # Counts of 0 to 16 dark pixels: 16 shades, the darkest of which is also 16.
    images = (np.minimum(data.images, 15) * 17).astype(np.uint8)
    found = array_pictures(images, name, data.target)
    return Found(name, {TRAIN: found}, bits=BITS)
