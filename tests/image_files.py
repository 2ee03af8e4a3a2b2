"""Little image files to test with."""

import gzip
import io
import struct

import numpy as np
from PIL import Image


def pixels(count, height=6, width=5, channels=1, seed=0):
    """Random images (N, H, W, C)."""
    shape = (count, height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def picture(array):
    """An image of Pillow's from (H, W, C)."""
    return Image.fromarray(array[:, :, 0] if array.shape[2] == 1 else array)


def encoded(array, form="png"):
    """The bytes of an image file."""
    sink = io.BytesIO()
    picture(array).save(sink, form)
    return sink.getvalue()


def save(array, path):
    """Writes (H, W, C) as an image file, into folders that need not be there yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(array).save(path, **({"lossless": True} if path.suffix == ".webp" else {}))


def fill(folder, images, classes=None):
    """Writes images as 1.png, 2.png, ..., in sub-folders if there are classes."""
    for index, array in enumerate(images):
        inside = folder if classes is None else folder / classes[index]
        save(array, inside / f"{index + 1}.png")
    return folder


def idx(array):
    """The bytes of an IDX file."""
    return (
        bytes([0, 0, 8, array.ndim])
        + struct.pack(f">{array.ndim}I", *array.shape)
        + bytes(array.tobytes())
    )


def fill_idx(folder, part, images, labels=None, packed=False, dot=False):
    """Writes images (N, H, W), and labels if given, as MNIST is written."""
    folder.mkdir(exist_ok=True)
    for name, array in (("images", images), ("labels", labels)):
        if array is not None:
            path = folder / f"{part}-{name}{'.' if dot else '-'}idx{array.ndim}-ubyte"
            if packed:
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(idx(array)))
            else:
                path.write_bytes(idx(array))
    return folder


def arrays(rows):
    """Images of a source (N, C, H, W) as (N, H, W, C)."""
    return rows.x.permute(0, 2, 3, 1).numpy()


def same_set(rows, images):
    """Whether the rows are these images, in whatever order."""
    key = [tuple(image.ravel()) for image in images]
    return sorted(tuple(image.ravel()) for image in rows) == sorted(key)
