"""Rows and contexts whose shapes before the event broadcast, and NumPy arrays among them."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from caudal.base import FREE
from caudal.errors import InputError

Rowlike = Any
"""A tensor, or a NumPy array of numbers."""


def fits(x: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether x has shape (*batch, *shape), where FREE stands for any length."""
    start = x.ndim - len(shape)
    free = (size in (FREE, n) for size, n in zip(shape, x.shape[max(start, 0) :], strict=False))
    return start >= 0 and all(free)


def leading(x: Tensor, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of x before the event or the context."""
    return tuple(x.shape[: max(0, x.ndim - len(shape))])


def as_rows(values: Rowlike, like: Tensor) -> Any:
    """A NumPy array of numbers as a tensor in the dtype and on the device of `like`.

    Anything else, None among it, is left as it is.
    """
    kind = getattr(getattr(values, "dtype", None), "kind", None)  # a torch.dtype has none
    if kind is None or kind not in "biuf":
        return values
    return torch.as_tensor(values, dtype=like.dtype, device=like.device)


def per_row(x: Any, batch: tuple[int, ...], shape: tuple[int, ...] | None) -> Any:
    """Values (*any, *shape) for each of the rows of a batch: (N, *shape); None stays None.

    Raises:
        InputError: the shape before `shape` does not broadcast to the batch.
    """
    if x is None or shape is None:
        return x
    before = leading(x, shape)
    if before == batch and len(batch) == 1:
        return x
    if broadcast(batch, before) != batch:
        raise InputError(f"`context` of shape {tuple(x.shape)} for {batch} rows: give one, or all")
    event = x.shape[len(before) :]
    return x.expand((*batch, *event)).reshape((math.prod(batch), *event))


class Batched(NamedTuple):
    """The shape before the event in which results of rows are given back."""

    shape: tuple[int, ...]

    def split(self, x: Tensor) -> Tensor:
        """Results of rows (N, ...) as (*shape, ...)."""
        return x if len(self.shape) == 1 else x.reshape((*self.shape, *x.shape[1:]))


def broadcast(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape of both broadcast together, None if they do not fit."""
    if first == second or not second:
        return first
    try:
        return tuple(torch.broadcast_shapes(first, second))
    except RuntimeError:
        return None


def sample_shape(n: int | Sequence[int], contexts: tuple[int, ...]) -> tuple[int, ...]:
    """The shape before the event of samples, for contexts of that shape."""
    if isinstance(n, Sequence):
        shape = (*n, *contexts)
    else:
        shape = (n,)
        if contexts not in ((), (1,), (n,)):
            raise InputError(
                f"{n} samples for contexts of shape {contexts}: give one, or {n} of them, or "
                f"`({n},)` for so many samples of each"
            )
    if min(shape, default=0) < 0:
        raise InputError(f"`n` {n}: must be at least 0")
    return shape
