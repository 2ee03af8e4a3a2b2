"""Groups of images or clips that stay together when a source is split, such as one speaker's."""

import re
from collections.abc import Sequence

import numpy as np

from caudal.data.files.lots import Lot
from caudal.errors import InputError
from caudal.names import near


def is_label(by: str) -> bool:
    """Whether groups are by a label, not by a regular expression on names."""
    return by.isidentifier()


def group_numbers(lots: Sequence[Lot], by: str) -> list[np.ndarray]:
    """The number of the group of each item, counted over all lots as they first appear.

    Args:
        lots: of a source.
        by: a label; or a regular expression, whose first group, or else whose match in the name of
            a file, is what the group is called.

    Raises:
        InputError: there is no such label, the expression is none, or it fits no part of a name.
    """
    keys = [_labels(lot, by) if is_label(by) else _matches(lot, by) for lot in lots]
    numbers: dict[str, int] = {}
    for key in (key for some in keys for key in some):
        numbers.setdefault(key, len(numbers))
    return [np.array([numbers[key] for key in some], int) for some in keys]


def _labels(lot: Lot, by: str) -> list[str]:
    if by not in lot.labels:
        hint = near(by, sorted(lot.labels)) if lot.labels else "give `labels` or `metadata`"
        raise InputError(
            f"`split_by` {by}: {lot.name} has no such label; {hint}, or a regular expression on "
            f"names such as '(.*)_'"
        )
    values = lot.labels[by]
    bare = next((i for i, value in enumerate(values) if value is None), None)
    if bare is not None:
        raise InputError(f"`split_by` {by}: {lot.place(bare)} has none: give it one")
    return [str(value) for value in values]


def _matches(lot: Lot, by: str) -> list[str]:
    try:
        form = re.compile(by)
    except re.error as error:
        raise InputError(f"`split_by` {by}: no regular expression, {error}") from None
    keys = []
    for index in range(lot.count):
        match = form.search(lot.title(index, index + 1))
        if match is None:
            raise InputError(f"`split_by` {by}: fits nothing in the name of {lot.place(index)}")
        keys.append(match[1] if form.groups else match[0])
    return keys
