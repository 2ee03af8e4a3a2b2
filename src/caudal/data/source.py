"""Rows in batches, in an order that is a pure function of a seed."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from caudal.errors import InputError


class Batch(NamedTuple):
    """Rows x (B, *event), and their context (B, C) where the flow has one."""

    x: Tensor
    context: Tensor | None


class Source(ABC):
    """Rows that can be gone through shuffled, for training, or in order."""

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """How many rows there are."""

    def __len__(self) -> int:
        return self.n_rows

    @property
    def row_numbers(self) -> int | None:
        """Numbers in a row that are samples of one law, as pixels are; None for vectors."""
        return None

    def telling(self) -> Iterator[Batch]:
        """Rows that tell these data from others: the first ones."""
        yield next(self.ordered(1024))

    @abstractmethod
    def shuffled(self, batch_size: int, seed: int, skip: int = 0) -> Iterator[Batch]:
        """One shuffled pass in full batches; a ragged last one is left out.

        The same seed gives the same batches. `skip` passes over that many leading batches
        cheaply, and then gives exactly the others of the same pass: that is how a run resumes.
        """

    @abstractmethod
    def ordered(self, batch_size: int) -> Iterator[Batch]:
        """Every row once, in the order of the file; the last batch may be smaller."""


class Rows(Source):
    """Rows in memory, on any device.

    Args:
        x: (N, *event), floating; of images uint8, which become numbers a batch at a time.
        context: (N, C), floating, or None.
        gaps: whether NaN stands for a missing value instead of being refused.

    Raises:
        InputError: no rows, one dimension, other than floating, another number of context rows,
            or not finite.
    """

    def __init__(self, x: Tensor, context: Tensor | None = None, *, gaps: bool = False) -> None:
        _check(x, "x", gaps)
        if context is not None:
            _check(context, "context", gaps)
            if len(context) != len(x):
                raise InputError(f"x has {len(x)} rows, its context {len(context)}")
        self.x = x
        self.context = context

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return len(self.x)

    @property
    def row_numbers(self) -> int | None:
        """Pixels of an image; None for vectors."""
        return None if self.x.ndim == 2 else self.x[0].numel()

    def telling(self) -> Iterator[Batch]:
        """All rows."""
        return self.ordered(1024)

    def shuffled(self, batch_size: int, seed: int, skip: int = 0) -> Iterator[Batch]:
        """One shuffled pass in full batches, from batch `skip` on."""
        check_pass(batch_size, skip)
        order = permutation(self.n_rows, seed).to(self.x.device)
        for start in range(skip * batch_size, self.n_rows - batch_size + 1, batch_size):
            yield self._take(order[start : start + batch_size])

    def ordered(self, batch_size: int) -> Iterator[Batch]:
        """Every row once, in order."""
        check_pass(batch_size)
        for start in range(0, self.n_rows, batch_size):
            rows = slice(start, start + batch_size)
            yield Batch(self.x[rows], None if self.context is None else self.context[rows])

    def _take(self, rows: Tensor) -> Batch:
        context = None if self.context is None else self.context.index_select(0, rows)
        return Batch(self.x.index_select(0, rows), context)


def permutation(n: int, seed: int) -> Tensor:
    """An order of n rows that depends on the seed alone, whatever the global generator did."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


def check_pass(batch_size: int, skip: int = 0) -> None:
    """Refuses sizes that make no pass.

    Raises:
        InputError: names the size.
    """
    if batch_size < 1:
        raise InputError(f"a batch needs at least 1 row, got batch size {batch_size}")
    if skip < 0:
        raise InputError(f"cannot skip {skip} batches")


def require_rows(source: Source, batch_size: int) -> None:
    """Refuses a batch larger than the source, which would make passes without a single step.

    Raises:
        InputError: says both numbers.
    """
    if source.n_rows < batch_size:
        raise InputError(
            f"{source.n_rows} training rows are fewer than one batch of {batch_size}: "
            f"give --batch-size {source.n_rows} or less, or more rows"
        )


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
    # A sum is finite only if each part is, and needs no mask as large as the data.
    if torch.isfinite(values.sum(dtype=torch.float64)):
        return
    bad = torch.isinf(values) if gaps else ~torch.isfinite(values)
    if bad.any():
        row = int(bad.flatten(1).any(1).nonzero()[0])
        what = "an infinite" if gaps else "a NaN or infinite"
        raise InputError(f"row {row + 1} of {name} has {what} value: leave such rows out")
