"""Places in the line for values that have a probability of their own."""

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor, nn

_EQUAL = 4 * torch.finfo(torch.float32).eps  # relative, as rows come in 32 bits


class Atoms(nn.Module):
    """Opens the line at each atom v by an interval of width w, and closes it again.

    With the atoms v_1 < v_2 < ... of a column and c(x) the number of atoms below x,

    y = x + w (c(x) - m),

    so that atom v_i has the place [s_i, s_i + w) with s_i = v_i + w (i - 1 - m) to itself, and the
    other values keep their order, their distances and so their density. m is the number of atoms
    up to 0, so that values just above 0 are not moved: floating-point numbers are finest there.

    All multiples of a unit u may be atoms instead, such as whole numbers among decimals. Then
    c(x) - m is ceil(x / u) - 1, and the line is even if w / u is p / (1 - p), p being the share of
    the values that are such multiples.

    Args:
        values: the atoms of each of the D columns, ascending, in the rows' units; often none.
        width: (D,), of the places of each column, in the same units.
        every: (D,), u, for columns that have no `values`; 0 for others, and if not given.
    """

    value: Tensor
    width: Tensor
    every: Tensor
    start: Tensor
    unmoved: Tensor

    def __init__(
        self, values: Sequence[Sequence[float]], width: Tensor, every: Tensor | None = None
    ) -> None:
        super().__init__()
        most = max(map(len, values), default=0)
        padded = [[*own, *[float("inf")] * (most - len(own))] for own in values]
        value = torch.tensor(padded, dtype=width.dtype).reshape(len(values), most)
        every = torch.zeros_like(width) if every is None else every
        self.columns_every = [int(i) for i in every.nonzero().flatten()]
        self.exist = most > 0 or bool(self.columns_every)
        self.register_buffer("every", every[self.columns_every], persistent=False)
        self.register_buffer("value", value, persistent=False)
        self.register_buffer("width", width, persistent=False)
        self._derive()

    def extra_repr(self) -> str:
        atoms = f"{int(self.value.isfinite().sum())} atoms in {len(self.width)} columns"
        return atoms + (f", all multiples in {len(self.every)}" if len(self.every) else "")

    @property
    def places(self) -> Tensor:
        """Where the place of each atom of `values` starts and ends, (D, A, 2); else inf."""
        return torch.stack([self.start, self.start + self.width[:, None]], 2)

    def ends(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The ends (D,) of what columns with the ends `low` and `high` are opened to."""
        if not self.exist:
            return low, high
        if self.value.shape[1]:
            least, most = self.value.amin(1), self.value.where(self.value.isfinite(), -torch.inf)
            low, high = torch.minimum(low, least), torch.maximum(high, most.amax(1))
        up_to = (self.value <= high[:, None]).sum(1)
        lower = low - self.width * self.unmoved
        upper = high + self.width * (up_to - self.unmoved)
        at, width = self.columns_every, self.width[self.columns_every]
        lower[at] += width * ((low[at] / self.every).ceil() - 1)
        upper[at] += width * (high[at] / self.every).floor()
        return lower, upper

    def open(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Opened values y (B, D), for an atom the start of its place; and the mask of atoms."""
        if not self.exist:
            return x, torch.zeros_like(x, dtype=torch.bool)
        away = x.unsqueeze(2) - self.value
        near = _EQUAL * self.value.abs().where(self.value.isfinite(), 0.0)
        below = (away > near).sum(2)
        y, is_atom = x + self.width * (below - self.unmoved), (away.abs() <= near).any(2)
        if at := self.columns_every:
            units = x[:, at] / self.every
            y[:, at] += self.width[at] * (units.ceil() - 1)
            is_atom[:, at] = units == units.round()
        return y, is_atom

    def close(self, y: Tensor) -> Tensor:
        """The values x in whose places y lies."""
        if not self.exist:
            return y
        start, end = self.places.unbind(2)
        beyond = y.unsqueeze(2) >= end
        within = (y.unsqueeze(2) >= start) & ~beyond
        x = y - self.width * (beyond.sum(2) - self.unmoved)
        x = torch.where(within.any(2), torch.where(within, self.value, 0.0).sum(2), x)
        if at := self.columns_every:
            width, period = self.width[at], self.width[at] + self.every
            count = ((y[:, at] + width) / period).floor()
            beyond_atom = (y[:, at] - count * period).clamp(min=0.0)
            x[:, at] = self.every * count + torch.minimum(beyond_atom, self.every)
        return x

    def _derive(self) -> None:
        """Works out the places, after a change of precision too."""
        self.register_buffer("unmoved", (self.value <= 0).sum(1), persistent=False)
        order = torch.arange(self.value.shape[1], device=self.value.device)
        start = self.value + self.width[:, None] * (order - self.unmoved[:, None])
        self.register_buffer("start", start, persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self._derive()
        return self
