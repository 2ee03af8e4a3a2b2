"""Steps of fixed points kept from going astray, each element for itself."""

import torch
from torch import Tensor

_SETTLED = 0.25  # of what a row is done with
_SHRINK, _GROW = 0.5, 1.5  # where they undo each other, what is always too long goes on for ever


class Damping:
    """x + t (f - x), t = 1 until an element's residual changes sign and stays half as large.

    Then t is halved, and grows again, up to 1, where the sign stays. So Newton's steps do not go
    back and forth for ever where slopes change on the way, and near the solution they are its own.
    No step is longer than the largest number of its row: what waits for other elements does not
    overflow. What is settled stays; else its last digits would go on changing, and with them,
    often by more, all that depends on it.
    """

    def __init__(self, like: Tensor) -> None:
        self._share = torch.ones_like(like)
        self._before = torch.zeros_like(like)

    def next(
        self, x: Tensor, proposal: Tensor, residual: Tensor, size: Tensor, tolerance: float
    ) -> Tensor:
        """The damped point; size (B, 1, ...) is that of the largest number of each row."""
        turned = residual.sign() * self._before.sign() < 0
        missed = turned & (residual.abs() > 0.5 * self._before.abs())
        share = torch.where(turned, self._share, (_GROW * self._share).clamp(max=1))
        self._share = torch.where(missed, _SHRINK * self._share, share)
        self._before = residual
        move = (self._share * (proposal - x)).clamp(-size, size)
        return torch.where(residual.abs() <= _SETTLED * tolerance * size, x, x + move)

    def keep(self, rows: Tensor) -> None:
        """Goes on with some of the rows."""
        self._share, self._before = self._share[rows], self._before[rows]
