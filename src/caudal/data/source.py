"""Rows in batches, in an order that is a pure function of a seed."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from caudal.errors import InputError

VECTORS = 4096
"""Vectors of a batch that is scored: it bounds the memory and fixes the order of the noise."""
_SUMMED = 1 << 16  # rows at a time
NUMBERS = 1 << 20
"""Numbers of such a batch where an item has many of them, as an image has."""
_ONCE = 0.99  # share of the rows that are taken once at most where rows are drawn by their weights
_AT_LEAST = 10_000  # rows that may be drawn where there are fewer


class Batch(NamedTuple):
    """Rows x (B, *event), and their context (B, C) where the flow has one."""

    x: Tensor
    context: Tensor | None


class Weighted(Batch):
    """Rows that do not all count the same: `weights` (B,), whose mean over the source is 1."""

    weights: Tensor

    @classmethod
    def of(cls, batch: Batch, weights: Tensor) -> "Weighted":
        """The batch with its weights."""
        weighted = cls(*batch)
        weighted.weights = weights
        return weighted


def weights_of(batch: Batch) -> Tensor | None:
    """The weights of the rows of a batch; None where all count the same."""
    return batch.weights if isinstance(batch, Weighted) else None


def mapped(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """The batch with the same change made to each of its parts."""
    context, weights = (
        None if part is None else change(part) for part in (batch.context, weights_of(batch))
    )
    return with_weights(Batch(change(batch.x), context), weights)


def with_weights(batch: Batch, weights: Tensor | None) -> Batch:
    """The batch with these weights, if there are any."""
    return batch if weights is None else Weighted.of(batch, weights)


def item_rows(x_shape: Sequence[int]) -> int:
    """How many items of that shape are scored at a time."""
    return VECTORS if len(x_shape) == 1 else max(1, NUMBERS // math.prod(x_shape))


class Source(ABC):
    """Rows that can be gone through shuffled, for training, or in order.

    A row is the unit of training: a row of a table, an image, a crop of a clip. An item is the
    unit of scoring: the same, except that clips are scored whole. `weights` say how much each row
    counts in the loss, where they do not all count the same.
    """

    weights: Tensor | None = None

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """How many rows there are."""

    def __len__(self) -> int:
        return self.n_rows

    @property
    def n_items(self) -> int:
        """How many items there are."""
        return self.n_rows

    @property
    def row_numbers(self) -> int | None:
        """How many numbers an image or a crop has; None for vectors."""
        return None

    @property
    def items_at_a_time(self) -> int:
        """How many items a batch of `items` has, so that its size bounds the memory."""
        numbers = self.row_numbers
        return item_rows((1,) if numbers is None else (1, numbers))

    def telling(self) -> Iterator[Batch]:
        """Rows used to fingerprint the data set."""
        yield next(self.ordered(1024))

    def items(self, limit: int | None = None, rows: int | None = None) -> Iterator[Batch]:
        """Every item whole and in order, in batches whose size bounds the memory.

        Args:
            limit: give only so many items, from all over the source and always the same ones.
            rows: size of a batch; by default it follows from the size of an item (`item_rows`).
        """
        rows = rows or self.items_at_a_time
        if limit is None or limit >= self.n_rows:
            yield from self.ordered(rows)
            return
        size = math.ceil(limit / math.ceil(limit / rows))
        # A shuffled pass omits its ragged end. Where that would be needed, nearly all rows are
        # taken, and their order hardly matters.
        fits = math.ceil(limit / size) * size <= self.n_rows
        for batch in self.shuffled(size, seed=0) if fits else self.ordered(size):
            yield mapped(batch, itemgetter(slice(limit)))
            limit -= len(batch.x)
            if limit <= 0:
                return

    @abstractmethod
    def shuffled(self, batch_size: int, seed: int, skip: int = 0) -> Iterator[Batch]:
        """One shuffled pass in full batches; a ragged last one is left out.

        The same seed gives the same batches. `skip` leaves that many leading batches out cheaply
        and then gives exactly the others of the same pass, which is how a run resumes.
        """

    @abstractmethod
    def ordered(self, batch_size: int) -> Iterator[Batch]:
        """Every row once, in the order of the file; the last batch may be smaller."""


class Rows(Source):
    """Rows in memory, on any device.

    Args:
        x: (N, *event), floating; images may be uint8 and become numbers a batch at a time.
        context: (N, *context), floating, or None.
        weights: (N,), how much each row counts in the loss; those of weight 0 are left out. None
            where all count the same.
        gaps: whether NaN stands for a missing value instead of being refused.

    Raises:
        InputError: there are no rows, there is only one dimension, values are not floating or not
            finite, the context or the weights have another number of rows, or weights are
            negative, or all 0.
    """

    def __init__(
        self,
        x: Tensor,
        context: Tensor | None = None,
        weights: Tensor | None = None,
        *,
        gaps: bool = False,
    ) -> None:
        _check(x, "x", gaps)
        if context is not None:
            _check(context, "context", gaps)
            if len(context) != len(x):
                raise InputError(f"x has {len(x)} rows, its context {len(context)}")
        self.x, self.context, self.weights = x, context, None
        if weights is not None:
            self.weights = _of_mean_one(weights, x)
            if not bool((there := self.weights > 0).all()):
                self.x, self.context = x[there], None if context is None else context[there]
                self.weights = _of_mean_one(self.weights[there], self.x)

    @property
    def n_rows(self) -> int:
        return len(self.x)

    @property
    def row_numbers(self) -> int | None:
        """How many pixels an image has; None for vectors."""
        return None if self.x.ndim == 2 else self.x[0].numel()

    def telling(self) -> Iterator[Batch]:
        """All rows."""
        return self.ordered(1024)

    def shuffled(self, batch_size: int, seed: int, skip: int = 0) -> Iterator[Batch]:
        check_pass(batch_size, skip)
        order = permutation(self.n_rows, seed).to(self.x.device)
        for start in range(skip * batch_size, self.n_rows - batch_size + 1, batch_size):
            yield self._take(order[start : start + batch_size])

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        check_pass(batch_size)
        for start in range(0, self.n_rows, batch_size):
            rows = slice(start, start + batch_size)
            parts = (None if v is None else v[rows] for v in (self.context, self.weights))
            yield self._batch(self.x[rows], *parts)

    def _take(self, rows: Tensor) -> Batch:
        parts = (self.x, self.context, self.weights)
        return self._batch(*(None if v is None else v.index_select(0, rows) for v in parts))

    @staticmethod
    def _batch(x: Any, context: Tensor | None, weights: Tensor | None) -> Batch:
        return with_weights(Batch(x, context), weights)


def _of_mean_one(weights: Tensor, x: Tensor) -> Tensor:
    """The weights with a mean of 1, once they are found to be weights."""
    if weights.shape != x.shape[:1]:
        raise InputError(
            f"`weights` must be one number a row, ({len(x)},), got {tuple(weights.shape)}"
        )
    most = float(weights.max())
    if not 0 < most < math.inf or bool((weights < 0).any()):
        raise InputError("`weights` must be at least 0, finite, and not all 0")
    dtype = x.dtype if x.is_floating_point() else torch.get_default_dtype()
    shares = weights.double() / most  # whose sum is finite, whatever the scale
    return (shares / shares.mean()).to(x.device, dtype)


def as_often(source: Source) -> Source:
    """Rows that all count the same, each of them there about as often as it counts in the source.

    That is for what compares rows with samples, and knows of no weights. Without weights it is the
    source itself; else rows up to the 99th percentile of weights are taken at most once, always
    the same ones. They are no more than there were, or 10,000, however much one of them counts.
    """
    if source.weights is None or not isinstance(source, Rows):
        return source
    weights = source.weights.double().cpu().numpy()
    order = permutation(len(weights), 0).numpy()
    share = weights[order] / np.quantile(weights, _ONCE, method="higher")
    share *= min(1.0, max(len(weights), _AT_LEAST) / share.sum())
    copies = np.diff(np.floor(share.cumsum() + 0.5), prepend=0.0).astype(int)
    chosen = torch.from_numpy(np.sort(np.repeat(order, copies))).to(source.x.device)
    context = None if source.context is None else source.context[chosen]
    return Rows(source.x[chosen], context, gaps=True)


def effective_rows(weights: Tensor) -> float:
    """How many rows of equal weights tell a mean as well: (sum w)^2 / sum w^2, Kish's number."""
    weights = weights.double()
    return float(weights.sum().square() / weights.square().sum())


def permutation(n: int, seed: int) -> Tensor:
    """An order of n rows that depends on the seed alone, whatever the global generator did."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def check_pass(batch_size: int, skip: int = 0) -> None:
    """Refuses sizes with which no pass can be made."""
    if batch_size < 1:
        raise InputError(f"a batch needs at least 1 row, got batch size {batch_size}")
    if skip < 0:
        raise InputError(f"cannot skip {skip} batches")


def _check(values: Tensor, name: str, gaps: bool) -> None:
    shape = tuple(values.shape)
    if values.ndim < 2:
        raise InputError(f"{name} must be (rows, columns), got {shape}: try {name}[:, None]")
    if values.numel() == 0:
        raise InputError(f"{name} has no values: its shape is {shape}")
    if values.dtype == torch.uint8:
        return
    if not values.is_floating_point():
        raise InputError(f"{name} must be floating, got {values.dtype}: try {name}.float()")
    # A sum is finite only if each part is, and needs no mask as large as the data. In 64 bits it
    # copies what it sums, and so takes a piece at a time.
    sums = [part.sum(dtype=torch.float64) for part in values.split(_SUMMED)]
    if torch.isfinite(torch.stack(sums)).all():
        return
    bad = torch.isinf(values) if gaps else ~torch.isfinite(values)
    if bad.any():
        row = int(bad.flatten(1).any(1).nonzero()[0])
        what = "an infinite" if gaps else "a NaN or infinite"
        raise InputError(f"row {row + 1} of {name} has {what} value: leave such rows out")
