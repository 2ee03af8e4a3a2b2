"""Images in MATLAB files, as SVHN's and the Toronto Face Database's are."""

from pathlib import Path

import numpy as np

from caudal.data.files.lots import IMAGES, Listing, Lot, by_part
from caudal.data.images import mat5
from caudal.data.images.arrays import LABELS, array_lot
from caudal.data.splits import TRAIN, part_of
from caudal.data.unpacked import check_unpacked
from caudal.errors import InputError

SUFFIX = ".mat"
_HDF5 = b"MATLAB 7.3"
_LABELS = (*LABELS, "labs_ex")  # the last: expressions, of the Toronto faces


def holds_images(path: Path) -> bool:
    """Whether a MATLAB file has an array of three or four dimensions, by its headers."""
    try:
        return any(len(shape) in (3, 4) for shape in mat5.shapes_in(path).values())
    except (mat5.DamagedError, OSError):
        return False  # opening it will say what is wrong with it


def files_in(folder: Path) -> list[Path]:
    """The MATLAB files of images in a folder; others may hold the labels of its pictures."""
    return sorted(p for p in folder.iterdir() if p.suffix == SUFFIX and holds_images(p))


def read_matlab(paths: list[Path], name: str) -> Listing:
    """The images of MATLAB files, each a part by its name, such as train_32x32.mat.

    A file holds one array of 8-bit images, with their number first or, as MATLAB has it, last:
    (N, H, W), (H, W, N), (N, H, W, C) or (H, W, C, N); and perhaps labels, one for each.

    Raises:
        InputError: a file is damaged, has no such array or several, or is of MATLAB 7.3; or two
            files are of one part.
    """
    lots: dict[int, Lot] = {}
    for path in paths:
        words = (part_of(word) for word in path.stem.replace("-", "_").split("_"))
        part = next((word for word in words if word is not None), TRAIN)
        if part in lots:
            raise InputError(
                f"{name} has several files of one part, {lots[part].name} and {path}: give each "
                f"set its own folder"
            )
        lots[part] = _lot(path)
    return by_part(IMAGES, name, lots)


def _lot(path: Path) -> Lot:
    arrays = _arrays(path)
    images = {key: array for key, array in arrays.items() if array.ndim in (3, 4)}
    if len(images) != 1:
        held = ", ".join(f"{key} {array.shape}" for key, array in arrays.items() if key)
        raise InputError(
            f"{path} should hold one array of images, and holds {held or 'no array of numbers'}"
        )
    (array,) = images.values()
    labels = next((a.reshape(-1) for key, a in arrays.items() if key.casefold() in _LABELS), None)
    return array_lot(_number_first(array, labels), str(path), labels)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with path.open("rb") as file:
        if file.read(len(_HDF5)) == _HDF5:
            raise InputError(
                f"{path} is of MATLAB 7.3, which is HDF5: save it with -v7, or as .npz"
            )
    try:
        check_unpacked(path, str(path), mat5.unpacked_size(path))
        return mat5.arrays_in(path)
    except mat5.DamagedError as error:
        raise InputError(
            f"{path} is damaged, or no file of MATLAB 5 to 7.2: {error}; save it with -v7, or as "
            f".npz"
        ) from None


def _number_first(array: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """(N, H, W) or (N, H, W, C), where the number of images may have been last.

    The number of labels settles it; else the place of the channels, or that images are square.
    """
    first, end = array.shape[0], array.shape[-1]
    if labels is not None and (len(labels) == first) != (len(labels) == end):
        last = len(labels) == end
    elif array.ndim == 4:
        last = array.shape[2] in (1, 3) and end not in (1, 3)
    else:
        last = first == array.shape[1] != end
    return np.ascontiguousarray(np.moveaxis(array, -1, 0)) if last else array
