"""From what `--data` names to training, validation and test images."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from caudal.data.images.classes import check_context, class_column, encode_labels, labels_of
from caudal.data.images.dataset import ImageDataset
from caudal.data.images.fill import Filler, Progress, Shelf
from caudal.data.images.form import Form
from caudal.data.images.locate import find_images
from caudal.data.images.pictures import Found, Pictures
from caudal.data.images.reading import Job
from caudal.data.images.schema import ImageSchema
from caudal.data.images.shape import check_shape, first_shape
from caudal.data.parts import PARTS
from caudal.data.source import Rows
from caudal.data.splits import TEST, TRAIN, VALID, Split, check_fractions
from caudal.errors import InputError

CORRUPT = ("refuse", "skip")
_MEMORY = 1 << 30


class Whole(NamedTuple):
    """All images of a source, what each is called, and what the user should know."""

    rows: Rows
    names: list[str]
    notes: tuple[str, ...]


def open_images(
    data: Any,
    *,
    crop: Sequence[int] = (),
    resize: Sequence[int] = (),
    bits: int = 8,
    pixels: str = "unit",
    alpha: float = 0.05,
    dequantization: str = "uniform",
    context: Sequence[str] = (),
    corrupt: str = "refuse",
    valid: Any = None,
    test: Any = None,
    split: Sequence[float] = (0.8, 0.1, 0.1),
    seed: int = 0,
    schema: ImageSchema | None = None,
    memory: int = _MEMORY,
    progress: Progress | None = None,
) -> ImageDataset:
    """Opens images, makes them of one shape, and splits them where they are not in parts yet.

    Args:
        data: a folder of image files or of IDX files, a .npy, .npz or .parquet file, `hf:NAME`,
            the built-in "digits", or from Python an array or tensor of uint8.
        crop: height and width (or one number) of the centre to keep of each image.
        resize: height and width (or one number) to scale each image to.
        bits: of each pixel, at most those that there are.
        pixels: what a flow makes of them, see `ImageSchema`.
        alpha: of pixels = logit.
        dequantization: the noise between values, see `ImageSchema`.
        context: ("class",) to condition on the class of an image.
        corrupt: refuse images that cannot be read or are of another size, or skip them.
        valid: validation images, instead of a share or a part of `data`.
        test: test images, instead of a share or a part of `data`.
        split: shares of training, validation and test images, of parts that there are not.
        seed: of the split.
        schema: of a finished run, which the images must fit; then `bits` to `context` are its.
        memory: bytes above which the images are kept in a temporary file.
        progress: given what is gone through and how many images it is, gives the same back.

    Raises:
        InputError: anything that makes the images unusable, with file and advice.
    """
    check_context(context)
    _check_corrupt(corrupt)
    fractions = check_fractions(split)
    main = find_images(data)
    others = [find_images(other) if other is not None else None for other in (valid, test)]
    parts = _place(main, others)
    form = Form.of(crop, resize, schema.shape[0] if schema else None)
    given = [pictures for some in parts.values() for pictures in some]
    if schema is None:
        column = (class_column(given),) if context else ()
        shape = first_shape(parts[TRAIN][0], form, corrupt)
        schema = ImageSchema(shape, bits, pixels, alpha, dequantization, column)
        schema = replace(schema, bits=min(bits, main.bits))
        form = Form.of(crop, resize, shape[0])
    else:
        check_shape(parts[TRAIN][0], form, corrupt, schema)
    for pictures in given if schema.context else ():
        labels_of(pictures)
    jobs = list(_jobs(parts, fractions, seed))
    shelves, notes = Filler(schema, form, corrupt, memory, progress).fill(jobs)
    train, valid_rows, test_rows = (
        _rows(main, shelves, part, schema, notes) for part in (TRAIN, VALID, TEST)
    )
    said = [note for found in (main, *others) if found is not None for note in found.notes]
    return ImageDataset(main.name, schema, train, valid_rows, test_rows, (*said, *notes))


def open_whole(
    data: Any,
    schema: ImageSchema,
    *,
    crop: Sequence[int] = (),
    resize: Sequence[int] = (),
    corrupt: str = "refuse",
    memory: int = _MEMORY,
    progress: Progress | None = None,
) -> Whole:
    """All images of a source, of every part, encoded by the schema of a finished run.

    An image is called by its file, relative to the folder, or by its number from 1.

    Args:
        data: as for `open_images`.
        schema: of the run; where it is conditioned on the class, so are these images.
        crop: as the run was trained.
        resize: as the run was trained.
        corrupt: "refuse" or "skip" images that cannot be used.
        memory: bytes above which the images are kept in a temporary file.
        progress: as for `open_images`.

    Raises:
        InputError: the images do not fit the schema, or cannot be read.
    """
    _check_corrupt(corrupt)
    found = find_images(data)
    form = Form.of(crop, resize, schema.shape[0])
    given = list(found.parts.values())
    check_shape(given[0], form, corrupt, schema)
    if schema.context:
        for pictures in given:
            labels_of(pictures)
    jobs = [Job(pictures, np.zeros(pictures.count, np.int64)) for pictures in given]
    shelves, notes = Filler(schema, form, corrupt, memory, progress).fill(jobs)
    rows = _rows(found, shelves, TRAIN, schema, notes)
    return Whole(rows, shelves[TRAIN].titles, (*found.notes, *notes))


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
    main = find_images(data)
    others = [find_images(other) if other is not None else None for other in (valid, test)]
    labels: list[Any] = []
    for pictures, parts in _jobs(_place(main, others), check_fractions(split), seed):
        chosen = np.flatnonzero(parts == part).tolist()
        if pictures.labels is not None:
            labels += [pictures.labels[index] for index in chosen]
        elif chosen:
            return None
    return labels


def _check_corrupt(corrupt: str) -> None:
    if corrupt not in CORRUPT:
        raise InputError(f"--corrupt {corrupt}: choose one of {', '.join(CORRUPT)}")


def _place(main: Found, others: Sequence[Found | None]) -> dict[int, list[Pictures]]:
    """The images of each part; other sources come in place of the parts of the main one."""
    if TRAIN not in main.parts:
        raise InputError(f"{main.name} has no training images, only those of other parts")
    parts = {part: [pictures] for part, pictures in main.parts.items()}
    for part, other in zip((VALID, TEST), others, strict=True):
        if other is not None:
            parts[part] = list(other.parts.values())
    return parts


def _jobs(
    parts: dict[int, list[Pictures]], fractions: Sequence[float], seed: int
) -> Iterator[Job]:
    """The training images give shares to those parts that there are not."""
    shares = [fractions[part] if part == TRAIN or part not in parts else 0.0 for part in range(3)]
    split = Split(shares, seed)
    for part, some in parts.items():
        for pictures in some:
            count = pictures.count
            yield Job(pictures, split.parts(0, count) if part == TRAIN else np.full(count, part))


def _rows(
    found: Found,
    shelves: dict[int, Shelf],
    part: int,
    schema: ImageSchema,
    notes: tuple[str, ...],
) -> Rows:
    if part not in shelves:
        total = sum(len(shelf.labels) for shelf in shelves.values())
        raise InputError(
            f"{found.name} has too few images, {total}, which leaves none for {PARTS[part]}: give "
            f"more, or other shares with --split{''.join(f'; {note}' for note in notes)}"
        )
    shelf = shelves[part]
    column = next(iter(schema.context), None)
    codes = None if column is None else encode_labels(shelf.labels, column, found.name)
    return Rows(torch.from_numpy(shelf.images), codes)
