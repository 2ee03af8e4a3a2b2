"""Fixed points of whole batches, row by row: in sweeps, damped or accelerated."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from caudal.errors import NumericalError
from caudal.numerics.anderson import Anderson
from caudal.numerics.damping import Damping

Sweep = Callable[..., tuple[Tensor, Tensor]]
"""sweep(x, *given): what x (B, *event) should be next, and the residual, 0 at the solution."""

_FAST = 0.2
"""Of the residual before: rows that fall to less need no acceleration, and rows that have just
become worse are not to have it. Both take the plain step."""


class Solution(NamedTuple):
    """A solution, and how it was reached.

    Attributes:
        x: (B, *event).
        residual: the largest of each row, (B,).
        sweeps: until each row was done, (B,).
        history: the largest residual of all rows before each sweep.
    """

    x: Tensor
    residual: Tensor
    sweeps: Tensor
    history: list[float]


@torch.no_grad()
def fixed_point(
    sweep: Sweep,
    start: Tensor,
    given: Sequence[Tensor | None] = (),
    *,
    what: str = "the fixed point",
    tolerance: float | None = None,
    most: int = 1000,
    patience: int = 25,
    memory: int = 0,
    damped: bool = False,
    rows_apart: bool = True,
) -> Solution:
    """Sweeps until the residual of each row is small; rows that are done leave the batch.

    Done is a residual of at most tolerance (1 + the largest number in the row, or its target). A
    row that gets no better is done too where it is within the square root of the dtype's
    precision: its floating point goes no further. What is returned has been measured.

    Args:
        sweep: see `Sweep`.
        start: where to begin, (B, *event).
        given: more arguments of the sweep; the first is the target, if any.
        what: is solved for, in messages.
        tolerance: 3e-7 in float32, 1e-11 in float64 if not given.
        most: sweeps.
        patience: sweeps without a smaller residual, after which a row gets no better.
        memory: sweeps that Anderson acceleration looks back on; 0 is none.
        damped: shorten the steps of elements that go back and forth (see `Damping`); for sweeps
            whose residual, of x's shape, has the sign of the step that they take.
        rows_apart: the sweep takes any selection of rows; else all go on till the last is done.

    Raises:
        NumericalError: a row is not done after `most` sweeps; says how far it came.
    """
    if tolerance is None:
        tolerance = 1e-11 if start.dtype == torch.float64 else 3e-7
    state = _Rows(start, list(given), tolerance, patience, memory, damped)
    result = Solution(
        start.clone(), _per_row(start, torch.inf), torch.zeros(len(start), dtype=torch.long), []
    )
    if not len(start):
        return result
    lost = int((~torch.isfinite(state.size(start))).sum())
    if lost:
        raise NumericalError(f"{what}: {lost} of {len(start)} rows are not finite numbers")
    for count in range(most + 1):
        proposal, residual = sweep(state.x, *state.given)
        state.judge(residual)
        result.history.append(float(state.error.max()))
        done = state.done()
        if not rows_apart:
            done = done.all().expand_as(done)
        if done.any():
            gone, left = done.nonzero().squeeze(1), (~done).nonzero().squeeze(1)
            rows = state.index[gone]
            result.x[rows] = state.best[gone]
            result.residual[rows] = state.least[gone]
            result.sweeps[rows.cpu()] = count
            if not len(left):
                return result
            proposal, residual = proposal[left], residual[left]
            state.keep(left)
        state.advance(proposal, residual)
    raise NumericalError(
        f"{what}: {len(state.index)} of {len(start)} rows have not converged after {most} sweeps; "
        f"residual {float(state.least.max()):.3g}, tolerance {tolerance:.1g}"
    )


class _Rows:
    """The rows that are not done yet, where they are, and the best they have been."""

    def __init__(
        self,
        start: Tensor,
        given: list[Tensor | None],
        tolerance: float,
        patience: int,
        memory: int,
        damped: bool,
    ) -> None:
        self.index = torch.arange(len(start), device=start.device)
        self.x, self.given = start, given
        self.tolerance, self.patience = tolerance, patience
        self.best, self.least = start, _per_row(start, torch.inf)
        self.stale = torch.zeros_like(self.index)
        self.error, self.before = self.least, self.least
        first = given[0] if given else None
        self.target = torch.zeros_like(self.least) if first is None else largest_of_rows(first)
        self.damping = Damping(start) if damped else None
        self.anderson = Anderson(memory) if memory else None

    def judge(self, residual: Tensor) -> None:
        """Takes in the residuals of x."""
        self.before = self.error
        self.error = torch.nan_to_num(largest_of_rows(residual), torch.inf, torch.inf)
        better = self.error < self.least
        self.least = torch.where(better, self.error, self.least)
        self.best = torch.where(like_rows(better, self.x), self.x, self.best)
        self.stale = torch.where(better, 0, self.stale + 1)

    def done(self) -> Tensor:
        """Which rows are good enough, or as good as they get."""
        relative = self.least / self.size(self.best)
        limit = torch.finfo(self.x.dtype).eps ** 0.5
        stalled = (self.stale > self.patience) & (relative <= limit)
        return (relative <= self.tolerance) | stalled

    def size(self, x: Tensor) -> Tensor:
        """1 + the largest number of each row of x, or of its target: (B,)."""
        return 1 + torch.maximum(largest_of_rows(x), self.target)

    def keep(self, rows: Tensor) -> None:
        """Goes on with some of the rows, by their numbers."""
        names = ("index", "x", "best", "least", "stale", "error", "before", "target")
        for name in names:
            setattr(self, name, getattr(self, name)[rows])
        self.given = [None if value is None else value[rows] for value in self.given]
        for helper in (self.damping, self.anderson):
            if helper is not None:
                helper.keep(rows)

    def advance(self, proposal: Tensor, residual: Tensor) -> None:
        """Moves to the proposal, or past it, or part of the way."""
        if not torch.isfinite(proposal.sum()):
            # What has overflowed waits for what it depends on.
            proposal = torch.where(torch.isfinite(proposal), proposal, self.x)
        if self.anderson is not None:
            rate = self.error / self.before  # NaN where both overflow
            plain = ~((rate > _FAST) & (rate <= 1))
            proposal = self.anderson.next(self.x, proposal, plain)
        if self.damping is not None:
            size = like_rows(self.size(self.x), self.x)
            proposal = self.damping.next(self.x, proposal, residual, size, self.tolerance)
        self.x = proposal


def _per_row(x: Tensor, value: float) -> Tensor:
    return x.new_full((len(x),), value)


def largest_of_rows(x: Tensor) -> Tensor:
    """The largest absolute number of each row, (B,)."""
    return x.abs().flatten(1).amax(1)


def like_rows(rows: Tensor, x: Tensor) -> Tensor:
    """One value for each row, (B,), in the shape to go with x (B, *event)."""
    return rows.reshape(-1, *[1] * (x.ndim - 1))
