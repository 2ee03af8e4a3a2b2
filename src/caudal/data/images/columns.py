"""Which columns of a table are the images and their classes, and the names of the classes."""

from collections.abc import Mapping, Sequence
from typing import Any

from caudal.errors import InputError

_IMAGE = ("image", "img")
_LABEL = ("label", "labels", "class", "y")


def image_column(columns: Sequence[str], name: str) -> str:
    """The one column of images, or the one called image.

    Raises:
        InputError: there is none, or it is not clear which.
    """
    if not columns:
        raise InputError(f"{name} has no column of images")
    named = [column for column in columns if column in _IMAGE]
    if len(columns) > 1 and not named:
        shown = ", ".join(columns)
        raise InputError(f"{name} has several columns of images ({shown}): call one 'image'")
    return (named or columns)[0]


def label_column(columns: Sequence[str], classes: Mapping[str, Sequence[str]]) -> str | None:
    """The column of classes, if there is one: called label, or the first with names of classes."""
    named = [column for column in columns if column in _LABEL]
    return next(iter([*named, *classes]), None)


def named_labels(codes: Sequence[Any], names: Sequence[str] | None) -> list[Any]:
    """The names of the classes where they have names; None where a class is not told (-1)."""
    if names is None:
        return list(codes)
    return [names[code] if code is not None and code >= 0 else None for code in codes]
