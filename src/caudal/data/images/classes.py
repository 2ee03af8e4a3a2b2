"""The class of an image as the context of a flow."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from caudal.data.column import Column
from caudal.data.images.pictures import Pictures
from caudal.data.names import near
from caudal.data.stats import MAX_LEVELS
from caudal.errors import InputError

CLASS = "class"


def check_context(context: Sequence[str]) -> None:
    """Refuses context that images do not have.

    Raises:
        InputError: names it.
    """
    for name in context:
        if name != CLASS:
            raise InputError(f"--context {name}: of images there is '{CLASS}' alone")
    if len(context) > 1:
        raise InputError(f"--context: '{CLASS}' is named twice")


def class_column(given: Iterable[Pictures]) -> Column:
    """The column of all classes that there are, numbers or texts, in their order.

    Raises:
        InputError: an image without a class, only one class, or too many.
    """
    given = list(given)
    levels = {label for pictures in given for label in labels_of(pictures)}
    name = given[0].name
    if len(levels) > MAX_LEVELS:
        raise InputError(
            f"{name} has {len(levels)} classes: at most {MAX_LEVELS} can be conditioned on"
        )
    if len(levels) == 1:
        raise InputError(f"{name} has one class, '{levels.pop()}': train without --context class")
    numbers = all(isinstance(level, int) for level in levels)
    values = tuple(sorted(levels) if numbers else sorted(str(level) for level in levels))
    dtype = "int64" if numbers else "string"
    return Column(CLASS, "categorical", 0.0, len(values) - 1.0, 1.0, values, dtype=dtype)


def labels_of(pictures: Pictures) -> Sequence[Any]:
    """The class of each image.

    Raises:
        InputError: there are none, or an image has none.
    """
    if pictures.labels is None:
        raise InputError(
            f"{pictures.name} has no classes: give images in sub-folders named by their class, "
            f"or with labels, or go without --context class"
        )
    for index, label in enumerate(pictures.labels):
        if label is None:
            raise InputError(
                f"{pictures.place(index)} has no class: give it one, or leave the image out"
            )
    return pictures.labels


def encode_labels(labels: Sequence[Any], column: Column, name: str) -> Tensor:
    """Labels as the codes of a column, float32 (N, 1); the text '7' is the number 7.

    Raises:
        InputError: a class that the column does not have.
    """
    names = [str(value) for value in column.categories or ()]
    codes = {value: float(code) for code, value in enumerate(names)}
    for label in labels:
        if str(label) not in codes:
            raise InputError(
                f"{name} has the class '{label}', which the run was not trained with; "
                f"{near(str(label), names)}"
            )
    return torch.tensor([codes[str(label)] for label in labels]).unsqueeze(1)
