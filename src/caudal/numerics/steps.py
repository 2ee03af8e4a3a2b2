"""The steps of a fixed-point iteration, damped or accelerated (see `fixed_point`)."""

import torch
from torch import Tensor

_PLAIN = 6  # plain steps before the first accelerated one: where few are needed, it does not pay
_RIDGE = 1e-6  # share of the mean square of the differences, which become parallel at the end
_SETTLED = 0.25  # share of the tolerance below which an element is frozen
_SHRINK, _GROW = 0.5, 1.5
"""What a step is multiplied by: not inverse to each other, or it could stay too long for ever."""


class Anderson:
    """x + f - sum_i g_i (dx_i + df_i), g = argmin |f - sum_i g_i df_i|, f the step at x.

    dx_i and df_i are the differences between the last points, and between their steps f. This is a
    secant method, which needs no derivative; each row has its own.
    Reference: Walker, Ni (2011), Anderson acceleration for fixed-point iterations, SIAM J. Numer.
    Anal. 49.
    """

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self._count = 0
        self._points: list[Tensor] = []
        self._steps: list[Tensor] = []

    def next(self, x: Tensor, proposal: Tensor, plain: Tensor) -> Tensor:
        """The accelerated point; the rows of the mask `plain` (B,) go to the proposal itself."""
        points, steps = self._points, self._steps
        del points[: -self.memory], steps[: -self.memory]
        points.append(x.flatten(1))
        steps.append((proposal - x).flatten(1))
        self._count += 1
        if self._count <= _PLAIN or plain.all():
            return proposal
        dx = torch.stack([b - a for a, b in zip(points, points[1:], strict=False)], 1)
        df = torch.stack([b - a for a, b in zip(steps, steps[1:], strict=False)], 1)
        wide = torch.float32 if x.device.type == "mps" else torch.float64  # mps has no float64
        gram = (df @ df.mT).to(wide)
        mean = gram.diagonal(dim1=1, dim2=2).mean(1)
        ridge = (_RIDGE * mean + torch.finfo(x.dtype).tiny)[:, None]
        gram = gram + torch.diag_embed(ridge.expand(-1, gram.shape[1]))
        right = (df @ steps[-1].unsqueeze(2)).to(wide)
        weights = torch.linalg.solve(gram, right).to(x.dtype)
        weights = torch.where(plain[:, None, None], 0.0, weights)
        moved = proposal.flatten(1) - ((dx + df).mT @ weights).squeeze(2)
        return moved.view_as(x)

    def keep(self, rows: Tensor) -> None:
        """Keeps only the rows with these indices."""
        self._points = [value[rows] for value in self._points]
        self._steps = [value[rows] for value in self._steps]


class Damping:
    """x + t (f - x), t = 1 until an element's residual changes sign and stays half as large.

    Then t is halved; it grows again, up to 1, where the sign stays. So Newton's steps do not
    oscillate for ever where slopes change on the way, and near the solution they are undamped.
    No step is longer than the largest number of its row, so that elements which depend on others
    do not overflow before those converge. Converged elements are frozen: their round-off would
    keep perturbing the elements that depend on them.
    """

    def __init__(self, like: Tensor) -> None:
        self._share = torch.ones_like(like)
        self._before = torch.zeros_like(like)

    def next(
        self, x: Tensor, proposal: Tensor, residual: Tensor, size: Tensor, tolerance: float
    ) -> Tensor:
        """The damped point; `size` (B, 1, ...) is that of the largest number of each row."""
        turned = residual.sign() * self._before.sign() < 0
        missed = turned & (residual.abs() > 0.5 * self._before.abs())
        share = torch.where(turned, self._share, (_GROW * self._share).clamp(max=1))
        self._share = torch.where(missed, _SHRINK * self._share, share)
        self._before = residual
        move = (self._share * (proposal - x)).clamp(-size, size)
        return torch.where(residual.abs() <= _SETTLED * tolerance * size, x, x + move)

    def keep(self, rows: Tensor) -> None:
        """Keeps only the rows with these indices."""
        self._share, self._before = self._share[rows], self._before[rows]
