"""Rows and contexts, tensors or NumPy arrays: their shapes before the event broadcast."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from caudal.base import FREE
from caudal.errors import InputError

Rowlike = Any
"""A tensor, or a NumPy array of numbers."""


def fits(x: Tensor, shape: tuple[int, ...]) -> bool:
    """Whether x has shape (*batch, *shape), where FREE stands for any length."""
    start = x.ndim - len(shape)
    free = (size in (FREE, n) for size, n in zip(shape, x.shape[max(start, 0) :], strict=False))
    return start >= 0 and all(free)


def check_rows(x: Any, shape: tuple[int, ...], dtype: torch.dtype, what: str) -> None:
    """Refuses values that are not a tensor (*batch, *shape) of the dtype of a flow.

    Raises:
        InputError: names the values by `what`.
    """
    if not isinstance(x, Tensor):
        kind = type(x).__name__
        raise InputError(f"{what} must be a tensor or an array of numbers, got {kind}")
    if not fits(x, shape):
        raise InputError(f"{what} must have shape (B, *{shape}), got {tuple(x.shape)}")
    if x.dtype != dtype:
        raise InputError(
            f"{what} must be {dtype} as the flow is, got {x.dtype}: "
            f"convert one with .to(), or the other with flow.to()"
        )


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
    if hasattr(values, "strides"):  # torch has no other byte orders, strides below 0, long floats
        is_long = kind == "f" and values.dtype.itemsize > 8
        native = "f8" if is_long else values.dtype.newbyteorder("=")
        values = values.astype(native, order="C", copy=False)
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


class Door(nn.Module, ABC):
    """The door of a flow: data and contexts are checked, broadcast together and embedded here.

    Attributes:
        event_shape: the shape of one event.
        context_shape: the shape of one row of context; None without.
        embedding: turns context into input of the bijection; None leaves it as it is.
    """

    event_shape: tuple[int, ...]
    context_shape: tuple[int, ...] | None
    embedding: nn.Module | None

    @property
    @abstractmethod
    def like(self) -> Tensor:
        """A tensor of the dtype and on the device of the flow."""

    def rows(self, x: Rowlike, context: Rowlike | None = None) -> tuple[Tensor, Tensor | None]:
        """Data and context broadcast together, as rows (N, *event) and (N, *context).

        Raises:
            InputError: they do not fit the flow, or each other.
        """
        x, context, _ = self._rows(x, context)
        return x, context

    def embed(self, context: Tensor | None) -> Tensor | None:
        """Context as input of the bijection."""
        return context if context is None or self.embedding is None else self.embedding(context)

    def embed_linear(self, context: Tensor | None) -> Tensor | None:
        """Context as input of linear maps: as `embed`, without the features that only nets see."""
        embedded = self.embed(context)
        n = getattr(self.embedding, "n_linear", None)
        return embedded if embedded is None or n is None else embedded[:, :n]

    def check_context(self, context: Tensor | None) -> None:
        """Refuses a context (*batch, *context) that is not of the flow's shape and dtype.

        Raises:
            InputError: it does not fit, is missing, or the flow takes none.
        """
        if self.context_shape is None:
            if context is not None:
                raise InputError(
                    "this flow takes no `context`: it was built without `context_shape`"
                )
            return
        if context is None:
            raise InputError(f"this flow needs a `context` of shape (B, *{self.context_shape})")
        self._check(context, self.context_shape, "`context`")

    def _rows(
        self,
        x: Rowlike,
        context: Rowlike | None,
        what: str = "`x`",
        event_shape: tuple[int, ...] | None = None,
    ) -> tuple[Tensor, Tensor | None, Batched]:
        """Like `rows`; also gives the `Batched` that restores the shape before the event."""
        x, context = (as_rows(values, self.like) for values in (x, context))
        event_shape = self.event_shape if event_shape is None else event_shape
        self._check(x, event_shape, what)
        self.check_context(context)
        second = () if context is None else leading(context, self.context_shape or ())
        batch = broadcast(leading(x, event_shape), second)
        if batch is None:
            both = f"{tuple(context.shape)} of context for {tuple(x.shape)} of {what}"
            raise InputError(f"{both}: their shapes before context and event do not broadcast")
        x = per_row(x, batch, event_shape)
        return x, per_row(context, batch, self.context_shape), Batched(batch)

    def _context(self, context: Tensor | None, rows: int) -> Tensor | None:
        """The embedded context of so many rows, which must have one each."""
        self.check_context(context)
        if context is not None and context.shape[0] != rows:
            raise InputError(f"{context.shape[0]} rows of context for {rows} rows of data")
        return self.embed(context)

    def _check(self, x: Tensor, shape: tuple[int, ...], what: str) -> None:
        check_rows(x, shape, self.like.dtype, what)
