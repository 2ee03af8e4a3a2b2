"""The data of `equal_time.py`, written once as arrays that all libraries read.

Tables: `tables.py`, each column in steps with noise of one step. Shapes: those built into caudal.
Images: MNIST and CIFAR-10 in their own parts, the last 5,000 training images for validation.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

import tables
from caudal.data import open_images
from caudal.data.builtin import SHAPES
from images import cifar
from tables import Parts

POINTS = (40_000, 5_000, 5_000)
TEST_ROWS, TEST_IMAGES, VALID_IMAGES = 5_000, 1_000, 5_000


class Source(NamedTuple):
    """Rows, or images in uint8, for training, validation and test, and what scores are told in."""

    load: Callable[[Path], Parts]
    unit: str = "nats"


def shape(name: str, _: Path) -> Parts:
    points = SHAPES[name](np.random.default_rng(0), sum(POINTS))
    first, second = POINTS[0], POINTS[0] + POINTS[1]
    return points[:first], points[first:second], points[second:]


def pictures(name: str, folder: Path) -> Parts:
    found = open_images(str(folder / "mnist") if name == "mnist" else cifar(folder))
    whole = np.concatenate([found.train.x, found.valid.x]).transpose(0, 2, 3, 1)
    test = found.test.x[:TEST_IMAGES].numpy().transpose(0, 2, 3, 1)
    return whole[:-VALID_IMAGES], whole[-VALID_IMAGES:], test


def table(name: str, folder: Path) -> Parts:
    train, valid, test = getattr(tables, name).__wrapped__(folder)
    return train, valid, test[:TEST_ROWS]


NAMES = ("power", "adult", "california_housing", "diamonds", "miniboone")
DATA = {
    **{name: Source(partial(table, name)) for name in (*NAMES, "cover", "shuttle", "magic")},
    **{name: Source(partial(shape, name)) for name in ("moons", "rings", "pinwheel")},
    "digits": Source(partial(table, "digits"), "bits/dim"),
    **{name: Source(partial(pictures, name), "bits/dim") for name in ("mnist", "cifar10")},
}
IMAGES = ("mnist", "cifar10")


def prepare(name: str, data_dir: Path, folder: Path) -> Path:
    """The folder in which the arrays of a data set are.

    Raises:
        FileNotFoundError: its files are not in `data_dir`.
    """
    source, out = DATA[name], folder / name
    parts = source.load(data_dir)
    out.mkdir(parents=True, exist_ok=True)
    for part, values in zip(("train", "valid", "test"), parts, strict=True):
        np.save(out / f"{part}.npy", np.ascontiguousarray(values))
    (out / "unit").write_text(source.unit, encoding="utf-8")
    return out
