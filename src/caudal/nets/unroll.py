"""A masked net one element at a time, at about the price of running it once.

With the units of every layer sorted by degree, those due at step t are a few rows, which need only
what is known by then: no weight is used twice. Products of a few rows and columns waste the
machine, so steps go in blocks: as a block opens, one product brings in all that is known so far,
and its steps add what the block itself has found. It is a blocked triangular solve.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from caudal.nets.staircase import StaircaseLinear

if TYPE_CHECKING:
    from caudal.nets.masked import MADE

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
        self._buffer: Tensor | None = None
        if not torch.is_grad_enabled():
            self._buffer = like.new_empty(rows, like.shape[0])
        self._since: list[Tensor] = []
        self._opened = self._count = 0

    def add(self, rows: Tensor) -> None:
        """Takes the next rows in."""
        if self._buffer is None:
            self._since.append(rows)
        else:
            self._buffer[self._count : self._count + len(rows)] = rows
        self._count += len(rows)

    @property
    def values(self) -> Tensor:
        """The buffer, for who writes into it without `add`, and says so by `written`."""
        if self._buffer is None:
            raise RuntimeError("with gradient there is no buffer")
        return self._buffer

    def written(self, rows: int) -> None:
        """The buffer holds values up to that row."""
        self._count = rows

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
        self.pending = torch.addmm(bias, weight, before)

    def has(self, step: int) -> bool:
        """Whether any rows are due at a step."""
        return self.due[step] < self.due[step + 1]

    def rows(self, step: int) -> Tensor:
        """The rows that are due at a step, (n, B)."""
        start, end = self.due[step], self.due[step + 1]
        pending = self.pending[start - self._top : end - self._top]
        since = self.source.since
        if since is None:
            return pending
        weight = self.weight[start:end, self._columns : self._columns + len(since)]
        return torch.addmm(pending, weight, since)


class Unrolled:
    """A MADE between two steps: what is known of each layer."""

    def __init__(self, net: "MADE", like: Tensor, context: Tensor | None) -> None:
        self.net, self.position, self.end = net, 0, 0
        layers = cast(list[StaircaseLinear], list(net.layers))
        self.inputs = Known(net.features, like)
        self.hidden = [Known(len(layer.bias), like) for layer in layers]
        sources = [self.inputs, *self.hidden]
        dues = [*net.due, range(0, (net.features + 1) * net.n_params, net.n_params)]
        self.layers = [
            UnrolledLinear(layer, due, source)
            for layer, due, source in zip([*layers, net.last], dues, sources, strict=True)
        ]
        if net.context is not None:
            self.layers[0].bias = self.layers[0].bias + net.context(context).t()
        self.direct: UnrolledLinear | None = None
        if net.direct is not None:
            self.direct = UnrolledLinear(net.direct, dues[-1], self.inputs)

    def step(self, value: Tensor | None) -> Tensor:
        """Takes the value of the element before (1, B), gives parameters of the next (P, B)."""
        if value is not None:
            self.inputs.add(value)
        if self.position == self.end:
            self.open()
        hidden = self._residual if self.net.residual else self._plain
        hidden(self.position)
        params = self.layers[-1].rows(self.position)
        if self.direct is not None:
            params = params + self.direct.rows(self.position)
        self.position += 1
        return params

    def open(self) -> None:
        """Starts the block at the present position."""
        self.end = min(self.position + BLOCK, self.net.features)
        for known in (self.inputs, *self.hidden):
            known.open()
        for layer in (*self.layers, *([self.direct] if self.direct else [])):
            layer.open(self.position, self.end)

    def _plain(self, step: int) -> None:
        """The hidden units of degree `step`, layer by layer."""
        for layer, known in zip(self.layers, self.hidden, strict=False):
            if layer.has(step):
                known.add(self.net.activation(layer.rows(step)))

    def _residual(self, step: int) -> None:
        """The same in blocks of two; what layers see is activated, what is added is not."""
        if not self.layers[0].has(step):
            return
        h = self.layers[0].rows(step)
        for i in range(1, len(self.hidden), 2):
            self.hidden[i - 1].add(self.net.activation(h))
            self.hidden[i].add(self.net.activation(self.layers[i].rows(step)))
            h = h + self.layers[i + 1].rows(step)
        self.hidden[-1].add(h)
