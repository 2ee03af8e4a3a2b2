"""Columns that are never below others, as what they are above them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_OFF_LATTICE = 1e-2  # share of a step: well above rounding errors, well below real differences


class Differences(nn.Module):
    """Takes from some columns the largest of others of their row, their sources.

    With the sources S_j of column j, and the constants c_ji that count both from one point,

    y_j = min over i in S_j of x_j - x_i + c_ji, which is x_j - max x_i,

    and all other columns stay. So "x_j is not below x_i" is "y_j is not below 0", which is an end
    of a support. The Jacobian is triangular and its diagonal is 1: densities and masses stay what
    they are, log|det| = 0.

    Args:
        inequalities: (j, S_j, c_j) of each such column, after those of its sources that have one.
        step: (D,), the steps of lattices, 0 for continuous columns; a difference is put on the
            lattice that rounding errors took it off.
    """

    step: Tensor

    def __init__(
        self, inequalities: Sequence[tuple[int, Sequence[int], Sequence[float]]], step: Tensor
    ) -> None:
        super().__init__()
        self.inequalities = [(j, list(some), list(shifts)) for j, some, shifts in inequalities]
        self.register_buffer("step", step, persistent=False)

    def extra_repr(self) -> str:
        return f"{len(self.inequalities)} columns"

    def apart(self, x: Tensor) -> Tensor:
        """The differences y (B, D) of rows x."""
        if not self.inequalities:
            return x
        y = x.clone()
        for j, sources, shifts in self.inequalities:
            above = x[:, [j]] - x[:, sources] + x.new_tensor(shifts)
            y[:, j] = self._on_lattice(above.amin(1), j, x[:, [j, *sources]].abs().amax(1))
        return y

    def together(self, y: Tensor) -> Tensor:
        """The rows x (B, D) whose differences are y."""
        if not self.inequalities:
            return y
        x = y.clone()
        for j, _, _ in self.inequalities:
            x[:, j] = y[:, j] + self.floor(j, x)
        return x

    def floor(self, column: int, x: Tensor) -> Tensor:
        """What a column of rows x is not below (B,), 0 if it has no sources."""
        for j, sources, shifts in self.inequalities:
            if j == column:
                return (x[:, sources] - x.new_tensor(shifts)).amax(1)
        return torch.zeros_like(x[:, column])

    def _on_lattice(self, above: Tensor, column: int, size: Tensor) -> Tensor:
        """Differences (B,) of numbers up to `size` (B,), on their lattice if they are near it."""
        step = self.step[column]
        spacing = step.where(step > 0, 1.0)
        steps = above / spacing
        margin = _OFF_LATTICE + 4 * torch.finfo(above.dtype).eps * size / spacing
        near = (step > 0) & ((steps - steps.round()).abs() <= margin)
        return torch.where(near, steps.round() * spacing, above)
