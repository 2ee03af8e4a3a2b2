"""A masked net one element at a time, at about the price of running it once.

With the units of every layer sorted by degree, those due at step t are a few rows, which need only
the units already known: no weight is used twice. Products of a few rows and columns waste the
machine, so steps are grouped into blocks, as in a blocked triangular solve. When a block opens,
one product brings in everything known so far; its steps add only what the block itself computes.

Without gradient, the steps of a block can run in one loop compiled by Numba. The large products
of a block stay torch's. Its small ones, of a few numbers each, take Python longer to call than the
machine to compute: for small batches the loop is more than ten times as fast.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from caudal.nets.fast.kernels import block_kernel, map_of
from caudal.numerics.compiled import array, in_loops

if TYPE_CHECKING:
    from caudal.nets.masked import MADE, MaskedLinear

BLOCK = 24
"""Steps of a block: measured on one CPU core, D from 43 to 784, batches of 1000 and 10,000."""
# Limits within which the compiled loop is faster: measured on one CPU core, D from 6 to 784.
_MOST_ROWS = 1024
_ROWS_A_STEP = 12


class Known:
    """Values of a layer's units (n, B), which grow step by step.

    `before` holds those known when the block opened, `since` those of its own steps so far.
    Without gradient they are written into one buffer; with gradient nothing may be overwritten,
    and they are kept apart and concatenated.
    """

    def __init__(self, buffer: Tensor) -> None:
        self.before = buffer[:0]
        self._buffer = None if torch.is_grad_enabled() else buffer
        self._since: list[Tensor] = []
        self._opened = self._count = 0

    def add(self, rows: Tensor) -> None:
        """Appends the next rows."""
        if self._buffer is None:
            self._since.append(rows)
        else:
            self._buffer[self._count : self._count + len(rows)] = rows
        self._count += len(rows)

    @property
    def values(self) -> Tensor:
        """The buffer, for a caller that writes into it directly and then calls `written`."""
        if self._buffer is None:
            raise RuntimeError("with gradient there is no buffer")
        return self._buffer

    def written(self, rows: int) -> None:
        """Declares that the buffer holds values up to row `rows`."""
        self._count = rows

    def open(self) -> None:
        """Starts a block: all values known now belong to `before`."""
        if self._buffer is None:
            self.before = torch.cat([self.before, *self._since])
            self._since = []
        else:
            self.before = self._buffer[: self._count]
        self._opened = self._count

    @property
    def since(self) -> Tensor | None:
        """Rows added since the block opened; None if there are none."""
        if self._count == self._opened:
            return None
        if self._buffer is None:
            return self._since[0] if len(self._since) == 1 else torch.cat(self._since)
        return self._buffer[self._opened : self._count]


class UnrolledLinear:
    """A masked layer y = weight x + bias, (inputs, B) to (outputs, B), a few rows at each step.

    Rows due[t] to due[t + 1] are computed at step t, from the values `source` holds by then: just
    those that the mask lets them see.
    """

    def __init__(self, layer: "MaskedLinear", due: Sequence[int], source: Known) -> None:
        self.weight, self.bias = layer.weight, layer.bias.unsqueeze(1)
        self.due, self.source = due, source

    def open(self, first: int, last: int) -> None:
        """Starts the block of steps from `first` to before `last`; its source has opened already.

        One product brings in what is known before the block, for every row due within it.
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
        """The rows due at a step, (n, B)."""
        start, end = self.due[step], self.due[step + 1]
        pending = self.pending[start - self._top : end - self._top]
        since = self.source.since
        if since is None:
            return pending
        weight = self.weight[start:end, self._columns : self._columns + len(since)]
        return torch.addmm(pending, weight, since)


class Unrolled:
    """The state of a MADE between two steps: the known values of each layer."""

    def __init__(self, net: "MADE", like: Tensor, context: Tensor | None) -> None:
        self.net, self.position, self.end = net, 0, 0
        layers = cast("list[MaskedLinear]", list(net.layers))
        batch, sizes = len(like), [len(layer.bias) for layer in layers]
        self.inputs = Known(like.new_empty(net.features, batch))
        self.units = like.new_empty(sum(sizes), batch)  # of all layers
        self.hidden = [Known(buffer) for buffer in self.units.split(sizes)]
        sources = [self.inputs, *self.hidden]
        dues = [*net.due, range(0, (net.features + 1) * net.n_params, net.n_params)]
        self.layers = [
            UnrolledLinear(layer, due, source)
            for layer, due, source in zip([*layers, net.last], dues, sources, strict=True)
        ]
        for hidden, shift in zip(self.layers, net.shifts(context), strict=False):
            if shift is not None:
                hidden.bias = hidden.bias + shift
        self.direct: UnrolledLinear | None = None
        if net.direct is not None:
            self.direct = UnrolledLinear(net.direct, dues[-1], self.inputs)

    def step(self, value: Tensor | None) -> Tensor:
        """Takes the value of the previous element (1, B), gives parameters of the next (P, B)."""
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
        """Starts a block at the present position."""
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
        """Like `_plain`, for residual blocks: layers see activated units, sums are plain."""
        if not self.layers[0].has(step):
            return
        h = self.layers[0].rows(step)
        for i in range(1, len(self.hidden), 2):
            self.hidden[i - 1].add(self.net.activation(h))
            self.hidden[i].add(self.net.activation(self.layers[i].rows(step)))
            h = h + self.layers[i + 1].rows(step)
        self.hidden[-1].add(h)


def unroll_masked(
    net: "MADE", z: Tensor, scalar: Any, context: Tensor | None
) -> tuple[Tensor, Tensor] | None:
    """X and log dx/dz, both (B, D), of x_t = map(z_t; net(x_<t)), t = 1 .. D, in compiled blocks.

    `scalar` names the map and holds its constants. None where stepping is faster, or no loop fits.
    """
    if not _suits(net, z, scalar) or (kernel := block_kernel()) is None:
        return None
    state = Unrolled(net, z, context)
    noise = z.t().contiguous()
    x, log_slope = state.inputs.values, torch.empty_like(noise)
    kind, constants = map_of(scalar)
    packed, params = _packed(state), array(torch.empty(net.n_params, dtype=torch.float64))
    while (first := state.end) < net.features:
        state.position = first
        state.open()
        tops, sums = _sums(state)
        places = (array(noise), array(x), array(log_slope))
        steps = (first, state.end)
        kernel(kind, constants, steps, *places, packed, tops, sums, array(state.units), params)
        state.inputs.written(state.end)
        for known, due in zip(state.hidden, net.due, strict=True):
            known.written(due[state.end])
    return x.t(), log_slope.t()


def _suits(net: "MADE", z: Tensor, scalar: Any) -> bool:
    """Whether the loop knows this net and map, and is the faster way for this batch."""
    return (
        scalar is not None
        and len(z) <= min(_MOST_ROWS, _ROWS_A_STEP * net.features)
        and net.activation in (F.relu, torch.tanh)
        and in_loops(z)
    )


def _packed(state: Unrolled) -> tuple[Any, ...]:
    """What the loop has to know of the net: the same types of arrays, however deep it is."""
    net, direct = state.net, state.direct
    layers = [*state.layers, *([direct] if direct else [])]
    weights = [layer.weight.flatten() for layer in layers]
    dues = torch.tensor([list(layer.due) for layer in state.layers])
    begins = _starts([layer.bias for layer in state.layers[:-1]])
    options = (net.residual, net.activation is F.relu, direct is not None)
    return array(torch.cat(weights)), _starts(weights), array(dues), begins, options


def _sums(state: Unrolled) -> tuple[Any, Any]:
    """The products of each layer with all that was known before the block, and their starts."""
    *sums, outputs = (layer.pending for layer in state.layers)
    if state.direct is not None:
        outputs = outputs + state.direct.pending
    return _starts([*sums, outputs]), array(torch.cat([*sums, outputs]))


def _starts(parts: Sequence[Tensor]) -> Any:
    """Where each part begins if they lie one after the other, and where the last ends."""
    return array(torch.tensor([0, *map(len, parts)]).cumsum(0))
