"""Four images to stand at the corners of a manifold."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from caudal.cli.opened import OpenedRun
from caudal.cli.opened_images import class_names, test_labels
from caudal.data import Rows
from caudal.data.source import permutation
from caudal.errors import InputError

CORNERS = ("top left", "top right", "bottom left", "bottom right")


class Examples(NamedTuple):
    """Images to choose from, what each is called, and the class of each if that is known."""

    rows: Rows
    names: Sequence[str]
    labels: Sequence[Any] | None
    where: str


class Four(NamedTuple):
    """The four that were chosen: (4, C, H, W), their context (4, 1) or None, what they are."""

    images: Tensor
    context: Tensor | None
    told: list[str]


def test_images(opened: OpenedRun, rows: Rows) -> Examples:
    """The test images of a run, called by their number."""
    labels = class_names(opened.images, rows.context)
    if labels is None:
        labels = test_labels(opened)
    if labels is not None and len(labels) != len(rows):  # some were skipped: which is whose?
        labels = None
    return Examples(rows, [str(i + 1) for i in range(len(rows))], labels, "test image")


def choose(examples: Examples, numbers: Sequence[int], seed: int) -> Four:
    """Those of the given numbers, counted from 1; else four that chance brings, unlike in class.

    Raises:
        InputError: there is no image of a number.
    """
    rows, names, labels, where = examples
    chosen = [_index(number, len(rows)) for number in numbers] or unlike(len(rows), labels, seed)
    told = [f"{where} {names[i]}" for i in chosen]
    if labels is not None:
        told = [f"{text} (class {labels[i]})" for text, i in zip(told, chosen, strict=True)]
    context = None if rows.context is None else rows.context[chosen]
    return Four(rows.x[chosen], context, told)


def unlike(n: int, labels: Sequence[Any] | None, seed: int) -> list[int]:
    """Four of n rows in a random order, of as many classes as there are; over again if few."""
    order = permutation(n, seed).tolist()
    first = {str(labels[i]): i for i in reversed(order)} if labels is not None else {}
    leaders = set(first.values())
    sorted_order = [i for i in order if i in leaders] + [i for i in order if i not in leaders]
    return [sorted_order[k % n] for k in range(4)]


def _index(number: int, n: int) -> int:
    if not 1 <= number <= n:
        raise InputError(f"--rows {number}: there are images 1 to {n}")
    return number - 1
