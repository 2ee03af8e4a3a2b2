"""From what the user names to images: for training, validation and test, or all of them."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from caudal.data.dataset import Dataset, Listed
from caudal.data.files.folder import kind_of_folder, read_file, read_folder
from caudal.data.files.jobs import Decoder, Job, Progress, check_corrupt, place, with_codes
from caudal.data.files.labels import encode_labels, make_column, values_of, with_labels
from caudal.data.files.lots import CLASS, IMAGES, Listing, by_part
from caudal.data.files.tars import finds_tars, kind_of_tars, read_tars
from caudal.data.images import arrays, encoded, matlab
from caudal.data.images.alpha import fitting_alpha
from caudal.data.images.fill import fill
from caudal.data.images.form import Form, check_shape, first_shape
from caudal.data.images.schema import ALPHA, LOGITS, ImageSchema
from caudal.data.refusals import BUILT_IN, check_once, missing_file
from caudal.data.schema import Column
from caudal.data.source import Rows, item_rows
from caudal.data.splits import TEST, TRAIN, VALID, check_fractions
from caudal.data.table.decode import add_columns
from caudal.errors import InputError
from caudal.files import check_regular

_MEMORY = 1 << 30
BUILT_IN_IMAGES = ("digits",)
FORMATS = (
    f"a folder of images ({' '.join(IMAGES.suffixes)}), a folder of IDX files, .npy, .npz, "
    f".mat, .parquet, .tar, or hf:NAME"
)


def open_images(
    data: Any,
    *,
    crop: Sequence[int] = (),
    resize: Sequence[int] = (),
    bits: int = 8,
    pixels: str | None = None,
    alpha: float | None = None,
    dequantization: str = "uniform",
    pixel_noise: float = 0.0,
    drop_context: float = 0.0,
    context: Sequence[str] = (),
    labels: str | None = None,
    metadata: str | None = None,
    corrupt: str = "refuse",
    valid: Any = None,
    test: Any = None,
    split: Sequence[float] = (0.8, 0.1, 0.1),
    split_by: str | None = None,
    seed: int = 0,
    schema: ImageSchema | None = None,
    memory: int = _MEMORY,
    progress: Progress | None = None,
) -> Dataset[ImageSchema, Rows]:
    """Opens images, gives them all one shape, and splits them where they are not in parts yet.

    Args:
        data: a folder of image files or of IDX files, a .npy, .npz, .mat or .parquet file, tar
            shards such as `shards-{000..009}.tar`, `hf:NAME`, the built-in "digits", or from
            Python an array or tensor of uint8.
        crop: height and width (or one number) of the centre to keep of each image.
        resize: height and width (or one number) to scale each image to.
        bits: of each pixel, at most those that there are.
        pixels: what a flow makes of them, see `ImageSchema`.
        alpha: of the logit; chosen from the training images if not given.
        dequantization: the noise between values, see `ImageSchema`.
        pixel_noise: Gaussian noise in training, see `ImageSchema`.
        drop_context: share of images whose labels are withheld in training, see `ImageSchema`.
        context: names of labels to condition on; "class" is that of sub-folders and of files that
            have labels.
        labels: a pattern of the names of files, such as `{breed}_{index}`.
        metadata: a table with a row for each file, whose columns are labels.
        corrupt: "refuse" images that cannot be read or are of another size, or "skip" them.
        valid: validation images: another source, or a pattern such as `*_0.png` of names in
            `data`; else a part of `data`, or a share of it.
        test: test images, likewise.
        split: shares of training, validation and test images, where there are no parts.
        split_by: a label, or a regular expression on names, whose images stay in one part.
        seed: of the split.
        schema: of a finished run, which the images must fit and from which `bits` to `context`
            are then taken.
        memory: bytes above which the images are kept in a temporary file.
        progress: shows how far reading has come.

    Raises:
        InputError: the images cannot be used; the message has the file and advice.
    """
    check_once("context", context)
    check_corrupt(corrupt)
    fractions = check_fractions(split)
    names = context if schema is None else [column.name for column in schema.context]

    def find(data: Any) -> Listing:
        return with_labels(find_images(data), labels, metadata, names, groups=split_by)

    main = find(data)
    form = Form.of(crop, resize, schema.shape if schema else None)
    if corrupt == "refuse":  # an image that is none should be told before there are too few
        first_shape(main.lots[0], replace(form, shape=None), corrupt)
    jobs, more = place(main, valid, test, fractions, seed, find, split_by)
    first = jobs[0].lot
    chooses = False
    if schema is None:
        columns = [
            make_column(name, [v for job in jobs for v in values_of(job.lot, name)], IMAGES)
            for name in context
        ]
        shape = first_shape(first, form, corrupt)
        start = ALPHA if alpha is None else alpha
        noise = dequantization, tuple(columns), pixel_noise, drop_context
        schema = ImageSchema(shape, bits, pixels, start, *noise)
        schema = replace(schema, bits=min(bits, main.bits))
        chooses = alpha is None and pixels in (None, *LOGITS)
        form = Form.of(crop, resize, shape)
    else:
        check_shape(first, replace(form, shape=None), corrupt, schema)
    decoder = Decoder(IMAGES, form.read, corrupt, progress)
    jobs = with_codes(jobs, schema.context, IMAGES)
    shelves = fill(jobs, decoder, schema, memory, form)
    skipped = decoder.finish(main.name, {part: len(s.titles) for part, s in shelves.items()})
    train, valid_rows, test_rows = (shelves[part].rows for part in (TRAIN, VALID, TEST))
    if chooses:
        schema = replace(schema, alpha=fitting_alpha(train.x, schema.levels))
    notes = (*main.notes, *more, *skipped)
    return Dataset(main.name, schema, train, valid_rows, test_rows, notes)


def open_whole(
    data: Any,
    schema: ImageSchema,
    *,
    crop: Sequence[int] = (),
    resize: Sequence[int] = (),
    labels: str | None = None,
    metadata: str | None = None,
    fixed: Mapping[str, Any] | None = None,
    corrupt: str = "refuse",
    memory: int = _MEMORY,
    progress: Progress | None = None,
) -> Listed:
    """All images of a source, of every part, encoded by the schema of a finished run.

    An image is called by its file, relative to the folder, or by its number from 1.

    Args:
        data: as for `open_images`.
        schema: of the run; the images must have the labels that its context asks for.
        crop: as the run was trained.
        resize: as the run was trained.
        labels: as for `open_images`.
        metadata: as for `open_images`.
        fixed: labels that all images have, whatever their names or a table say.
        corrupt: "refuse" or "skip" images that cannot be used.
        memory: bytes above which the images are kept in a temporary file.
        progress: shows how far reading has come.

    Raises:
        InputError: the images do not fit the schema, or cannot be read.
    """
    check_corrupt(corrupt)
    names = [column.name for column in schema.context]
    listing = with_labels(find_images(data), labels, metadata, names, fixed)
    form = Form.of(crop, resize, schema.shape)
    check_shape(listing.lots[0], replace(form, shape=None), corrupt, schema)
    jobs = with_codes([Job.whole(lot) for lot in listing.lots], schema.context, IMAGES)
    decoder = Decoder(IMAGES, form.read, corrupt, progress)
    shelves = fill(jobs, decoder, schema, memory, form)
    counts = {part: len(shelf.titles) for part, shelf in shelves.items()}
    notes = (*listing.notes, *decoder.finish(listing.name, counts, [TRAIN]))
    rows = shelves[TRAIN].rows
    beside = pa.table({"image": pa.array(shelves[TRAIN].titles, pa.string())})
    total = math.ceil(len(rows) / item_rows(schema.shape))
    return Listed(
        listing.name, rows, add_columns(beside, schema.context, rows.context), notes, total
    )


def open_labels(
    data: Any, columns: Sequence[Column], labels: str | None = None, metadata: str | None = None
) -> torch.Tensor:
    """The labels of all images of a source as numbers (N, C), in the order of `open_whole`.

    Args:
        data: as for `open_images`.
        columns: of a run's context.
        labels: as for `open_images`.
        metadata: as for `open_images`.

    Raises:
        InputError: an image has no such label, or one that is in no column.
    """
    names = [column.name for column in columns]
    lots = with_labels(find_images(data), labels, metadata, names).lots
    return torch.cat([encode_labels(lot, columns, IMAGES) for lot in lots])


def labels_of_part(
    data: Any,
    part: int,
    *,
    valid: Any = None,
    test: Any = None,
    split: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
) -> list[Any] | None:
    """The class of each image of a part, also where `open_images` was not asked for classes.

    None where there are no classes. Images that `open_images` skipped are among them.
    """
    jobs, _ = place(find_images(data), valid, test, check_fractions(split), seed, find_images)
    labels: list[Any] = []
    for lot, parts, _ in jobs:
        chosen = np.flatnonzero(parts == part).tolist()
        if CLASS not in lot.labels and chosen:
            return None
        labels += [lot.labels[CLASS][index] for index in chosen]
    return labels


def finds_images(data: Any) -> bool:
    """Whether `data` looks like images and not like a table; reads no more than headers.

    The built-in digits are a table unless they are asked for as images. Folders look like images
    unless they are empty or hold more audio; so do arrays of three or more dimensions, a Parquet
    file with a column of encoded images, IDX and image files, and hf:NAME.
    """
    if isinstance(data, np.ndarray | torch.Tensor):
        return data.ndim >= 3
    if not isinstance(data, str | os.PathLike):
        return False
    name = os.fspath(data)
    if finds_tars(name):
        return kind_of_tars(name) is IMAGES
    return encoded.is_hub(name) or (name not in BUILT_IN and _file_has_images(Path(name)))


def _file_has_images(path: Path) -> bool:
    if path.is_dir():
        shard = next(path.glob("*.parquet"), None)
        is_table = shard is not None and not encoded.holds_images(shard)
        return not is_table and kind_of_folder(path) is IMAGES
    if not path.is_file():
        return False
    if path.suffix in (".npy", ".npz"):
        return arrays.holds_images(path)
    if path.suffix == ".parquet":
        return encoded.holds_images(path)
    if path.suffix == matlab.SUFFIX:
        return matlab.holds_images(path)
    return arrays.is_idx(path) or IMAGES.fits(path)


def find_images(data: Any) -> Listing:
    """What images there are, and in which parts.

    Raises:
        InputError: there are none, or they cannot be read.
    """
    if isinstance(data, torch.Tensor):
        data = data.detach().cpu().numpy()
    if isinstance(data, np.ndarray):
        return by_part(IMAGES, "array", {TRAIN: arrays.array_lot(data, "array")})
    if not isinstance(data, str | os.PathLike):
        raise InputError(f"a {type(data).__name__} is no images: give {FORMATS}, or an array")
    name = os.fspath(data)
    if not name:
        raise InputError(f"'' names no images: give {FORMATS}")
    if encoded.is_hub(name):
        return encoded.read_hub(name)
    if name in BUILT_IN_IMAGES:
        return _digits(name)
    if name in BUILT_IN:
        raise InputError(f"{name} holds no images: give {FORMATS}, or digits")
    if finds_tars(name):
        return read_tars(name, IMAGES)
    path = Path(name)
    if path.is_dir():
        return _find_in_folder(path, name)
    if not path.exists():
        raise missing_file(name)
    check_regular(path)
    return _find_in_file(path, name)


def _find_in_folder(path: Path, name: str) -> Listing:
    if arrays.holds_idx(path):
        return arrays.read_idx_folder(path, name)
    if files := matlab.files_in(path):
        return matlab.read_matlab(files, name)
    if files := encoded.files_in(path):
        return encoded.read_parquet(files, name)
    return read_folder(path, name, IMAGES)


def _find_in_file(path: Path, name: str) -> Listing:
    if path.suffix in (".npy", ".npz"):
        return arrays.read_arrays(path, name)
    if path.suffix == ".parquet":
        return encoded.read_parquet([path], name)
    if path.suffix == matlab.SUFFIX:
        return matlab.read_matlab([path], name)
    if arrays.is_idx(path):
        return by_part(IMAGES, name, {TRAIN: arrays.read_idx(path)})
    if IMAGES.fits(path):
        return read_file(path, name, IMAGES, title=name)
    raise InputError(f"{name}: unknown kind of file '{path.suffix}'; images are {FORMATS}")


def _digits(name: str) -> Listing:
    """scikit-learn's digits, 8x8 in 16 shades, with their classes."""
    from sklearn.datasets import load_digits

    data = load_digits()
    # A pixel counts 0 to 16 dark points; in 16 shades, 16 is as dark as 15.
    images = (np.minimum(data.images, 15) * 17).astype(np.uint8)
    lot = arrays.array_lot(images, name, data.target)
    return Listing(IMAGES, name, (lot,), bits=4)
