"""A masked net one element at a time, at about the price of running it once.

With the units of every layer sorted by degree, those due at step t are a few rows, which need only
what is known by then: no weight is used twice. Products of a few rows and columns waste the
machine, so steps go in blocks: as a block opens, one product brings in all that is known so far,
and its steps add what the block itself has found. It is a blocked triangular solve.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from caudal.nets.staircase import StaircaseLinear

BLOCK = 24
"""Steps of a block: measured on one CPU core, D from 43 to 784, batches of 1000 and 10,000."""


class Known:
    """Values of a layer's units (n, B), which grow step by step.

    `before` are those known as the block opened, `since` those of its own steps so far. Without
    gradient they are written into one buffer; with it, where none may be overwritten, they are
    kept apart and put together.
    """

    def __init__(self, rows: int, like: Tensor) -> None:
        self.before = like.new_empty(0, like.shape[0])
        self._since: list[Tensor] = []
        self._buffer: Tensor | None = None
        if not torch.is_grad_enabled():
            self._buffer = like.new_empty(rows, like.shape[0])
        self._opened = self._count = 0

    def add(self, rows: Tensor) -> None:
        """Takes the next rows in."""
        if self._buffer is None:
            self._since.append(rows)
        else:
            self._buffer[self._count : self._count + len(rows)] = rows
        self._count += len(rows)

    def open(self) -> None:
        """Starts a block: what is known now is known before it."""
        if self._buffer is None:
            self.before = torch.cat([self.before, *self._since])
            self._since = []
        else:
            self.before = self._buffer[: self._count]
        self._opened = self._count

    @property
    def since(self) -> Tensor | None:
        """Rows that came since the block opened; None where there are none."""
        if self._count == self._opened:
            return None
        if self._buffer is None:
            return self._since[0] if len(self._since) == 1 else torch.cat(self._since)
        return self._buffer[self._opened : self._count]


class UnrolledLinear:
    """A masked layer y = weight x + bias, (inputs, B) to (outputs, B), a few rows at a step.

    Rows due[t] to due[t + 1] are computed at step t, from what `source` knows then: that is just
    what the mask lets them see.
    """

    def __init__(self, layer: StaircaseLinear, due: Sequence[int], source: Known) -> None:
        self.weight, self.bias = layer.weight, layer.bias.unsqueeze(1)
        self.due, self.source = due, source

    def open(self, first: int, last: int) -> None:
        """Starts a block of the steps from `first` to before `last`, for which source has opened.

        One product: what is known before the block, for every row that is due within it.
        """
        self._top, bottom = self.due[first], self.due[last]
        before = self.source.before
        self._columns = len(before)
        bias = self.bias[self._top : bottom]
        weight = self.weight[self._top : bottom, : self._columns]
        self._pending = torch.addmm(bias, weight, before)

    def has(self, step: int) -> bool:
        """Whether any rows are due at a step."""
        return self.due[step] < self.due[step + 1]

    def rows(self, step: int) -> Tensor:
        """The rows that are due at a step, (n, B)."""
        start, end = self.due[step], self.due[step + 1]
        pending = self._pending[start - self._top : end - self._top]
        since = self.source.since
        if since is None:
            return pending
        weight = self.weight[start:end, self._columns : self._columns + len(since)]
        return torch.addmm(pending, weight, since)
