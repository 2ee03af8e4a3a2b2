"""The manifold between four examples, decoded from noise between theirs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
from annotated_types import Ge
from torch import Tensor

from caudal.data import prepare_picture
from caudal.errors import InputError
from caudal.fields import check_value
from caudal.interpolation import manifold
from caudal.modality import Examples
from caudal.report import unlike
from caudal.training.seeds import check_seed
from caudal.training.threads import uncrowded

if TYPE_CHECKING:
    from caudal.model.model import Model

CORNERS = ("top left", "top right", "bottom left", "bottom right")


class Four(NamedTuple):
    """The chosen examples: x (4, *event), their context (4, C) or None, and what they are."""

    x: Tensor
    context: Tensor | None
    names: list[str]


class Manifold(NamedTuple):
    """What lies between four examples.

    Attributes:
        grid: (n, n, ...) samples in the user's own form: for images, uint8 (n, n, H, W, C).
        names: of the four, in the order of `CORNERS`.
        corner_error: how far the corners are off the examples at most, in the data's own units.
        n: items along each side.
        seed: of the noise between values in steps.
        four: the examples themselves.
    """

    grid: np.ndarray
    names: list[str]
    corner_error: float
    n: int
    seed: int
    four: Four

    def __repr__(self) -> str:
        shape = tuple(self.grid.shape)
        return f"Manifold(grid of shape {shape} between {', '.join(self.names)})"


@uncrowded()
def interpolate(
    model: "Model",
    out: str | Path | None = None,
    *,
    data: Any = None,
    rows: tuple[int, ...] = (),
    n: int = 8,
    seed: int = 0,
    overwrite: bool = False,
    **reading: Any,
) -> Manifold:
    """The manifold between four examples, which the flow decodes from noise between theirs.

    z = cos phi (cos phi' z1 + sin phi' z2) + sin phi (cos phi' z3 + sin phi' z4), so that the
    four come back at the corners.

    Args:
        out: a picture to write, if any.
        data: where the four come from, instead of the run's own test part.
        rows: numbers of the four, from 1; chosen by `seed`, of different classes, if empty.
        n: items along each side.
        seed: of the choice, and of the noise between values in steps.
        overwrite: whether a file at `out` is replaced.
        reading: options of how other data are read.

    Raises:
        InputError: nothing lies between such data, or an argument is out of its range.
    """
    check_seed(seed)
    check_value("n", n, Annotated[int, Ge(2)])
    if len(rows) not in (0, 4):
        raise InputError(f"`rows` {' '.join(map(str, rows))}: give four numbers")
    path = None if out is None else prepare_picture(out, overwrite)
    options = model.options(model.kind.reading, reading)
    four = choose(model.kind.examples(model, data, options, model.voice), rows, seed)
    between = manifold(model.flow, four.x, four.context, n, seed)
    corners = manifold(model.flow, four.x, four.context, 2, seed).flatten(0, 1)
    error = float((corners.cpu().double() - four.x.double()).abs().max())
    cells = model.kind.cells(model.schema, between)
    made = Manifold(cells, four.names, error, n, seed, four)
    if path is not None:
        model.kind.write_manifold(path, model, made)
    return made


def choose(examples: Examples, numbers: Sequence[int], seed: int) -> Four:
    """The examples of those numbers, counted from 1; otherwise four at random, of unlike class.

    Raises:
        InputError: there is no example of a number.
    """
    rows, names, labels, where = examples
    chosen = [_index(number, len(rows)) for number in numbers] or unlike(len(rows), labels, seed)
    words = [f"{where} {names[i]}" for i in chosen]
    if labels is not None:
        words = [f"{text} (class {labels[i]})" for text, i in zip(words, chosen, strict=True)]
    context = None if rows.context is None else rows.context[chosen]
    return Four(rows.x[chosen], context, words)


def _index(number: int, n: int) -> int:
    if not 1 <= number <= n:
        raise InputError(f"`rows` {number}: there are images 1 to {n}")
    return number - 1
