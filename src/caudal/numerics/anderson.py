"""Anderson acceleration of fixed points, each row for itself."""

import torch
from torch import Tensor

_PLAIN = 6  # steps before the first accelerated one: where few are needed, it costs what it saves
_RIDGE = 1e-6  # of the mean square of the differences: they become parallel near the solution


class Anderson:
    """x + f - sum_i g_i (dx_i + df_i), g = argmin |f - sum_i g_i df_i|, f what a step adds to x.

    dx_i and df_i are differences between the last points, and between their f: a secant method
    that needs no derivative.
    Reference: Walker, Ni (2011), Anderson acceleration for fixed-point iterations, SIAM J. Numer.
    Anal. 49.
    """

    def __init__(self, memory: int) -> None:
        self.memory = memory
        self._count = 0
        self._points: list[Tensor] = []
        self._steps: list[Tensor] = []

    def next(self, x: Tensor, proposal: Tensor, plain: Tensor) -> Tensor:
        """The accelerated point; plain (B,) are the rows that go to the proposal itself."""
        points, steps = self._points, self._steps
        del points[: -self.memory], steps[: -self.memory]
        points.append(x.flatten(1))
        steps.append((proposal - x).flatten(1))
        self._count += 1
        if self._count <= _PLAIN or plain.all():
            return proposal
        dx = torch.stack([b - a for a, b in zip(points, points[1:], strict=False)], 1)
        df = torch.stack([b - a for a, b in zip(steps, steps[1:], strict=False)], 1)
        wide = torch.float32 if x.device.type == "mps" else torch.float64  # mps has no more
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
        """Goes on with some of the rows, by their numbers."""
        self._points = [value[rows] for value in self._points]
        self._steps = [value[rows] for value in self._steps]
