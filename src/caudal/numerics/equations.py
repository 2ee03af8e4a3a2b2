"""Equations solved for whole batches: bisection, and fixed points in sweeps, with gradients."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

from caudal.errors import NumericalError
from caudal.numerics.repeating import repeated
from caudal.numerics.steps import Anderson, Damping


def bisect(
    function: Callable[[Tensor], Tensor], target: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """Solves function(x) = target for an increasing elementwise function, low <= x <= high.

    The bracket is halved as often as the dtype has digits, which needs no test of convergence and
    no data-dependent branch. All shapes are those of `target`.
    """
    halvings = 64 if target.dtype == torch.float64 else 36

    def halved(low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        middle = 0.5 * (low + high)
        below = function(middle) < target
        return torch.where(below, middle, low), torch.where(below, high, middle)

    # A graph is exported without gradients, and may not switch them within a loop.
    with torch.no_grad() if torch.is_grad_enabled() else nullcontext():
        low, high = repeated(halved, (low, high), halvings)
        return 0.5 * (low + high)


Sweep = Callable[..., tuple[Tensor, Tensor]]
"""sweep(x, *inputs): the next x (B, *event), and the residual, which is 0 at the solution."""

_SWEEPS_ON = 300
_FAST = 0.2
"""Rows whose residual falls below this share of the one before take plain steps: they need no
acceleration. So do rows whose residual has just grown: they must not be accelerated."""


class Solution(NamedTuple):
    """A solution, and how it was reached.

    Attributes:
        x: the solution, (B, *event).
        residual: the largest residual of each row, (B,).
        sweeps: the number of sweeps until each row had converged, (B,).
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
    inputs: Sequence[Tensor | None] = (),
    *,
    what: str = "the fixed point",
    tolerance: float | None = None,
    most: int = 1000,
    patience: int = 25,
    memory: int = 0,
    damped: bool = False,
    rows_apart: bool = True,
) -> Solution:
    """Sweeps until the residual of each row is small; rows that have converged leave the batch.

    A row has converged when its residual is at most tolerance (1 + the largest number in the row,
    or in its target). A row that no longer improves has converged too if it is within the square
    root of the dtype's precision: floating point goes no further. The residuals returned are those
    measured at the solution.

    Args:
        sweep: see `Sweep`.
        start: the first x, (B, *event).
        inputs: further arguments of the sweep; the first is the target, if any.
        what: the name of the problem in messages.
        tolerance: 3e-7 in float32 and 1e-11 in float64 by default.
        most: the largest number of sweeps.
        patience: the number of sweeps without improvement after which a row counts as stalled.
        memory: the number of sweeps that Anderson acceleration looks back on; 0 for none.
        damped: whether to shorten the steps of elements that oscillate (see `Damping`), for sweeps
            whose residual, of x's shape, has the sign of the step that they take.
        rows_apart: whether the sweep takes any selection of rows; else all rows stay to the end.

    Raises:
        NumericalError: a row has not converged after `most` sweeps; the message has its residual.
    """
    if tolerance is None:
        tolerance = 1e-11 if start.dtype == torch.float64 else 3e-7
    state = _Rows(start, list(inputs), tolerance, patience, memory, damped)
    result = Solution(
        start.clone(), _per_row(start, torch.inf), torch.zeros(len(start), dtype=torch.long), []
    )
    if not len(start):
        return result
    lost = int((~torch.isfinite(state.size(start))).sum())
    if lost:
        raise NumericalError(f"{what}: {lost} of {len(start)} rows are not finite numbers")
    for count in range(most + 1):
        proposal, residual = sweep(state.x, *state.inputs)
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
    """The rows that have not converged yet, with their present and their best points."""

    def __init__(
        self,
        start: Tensor,
        inputs: list[Tensor | None],
        tolerance: float,
        patience: int,
        memory: int,
        damped: bool,
    ) -> None:
        self.index = torch.arange(len(start), device=start.device)
        self.x, self.inputs = start, inputs
        self.tolerance, self.patience = tolerance, patience
        self.best, self.least = start, _per_row(start, torch.inf)
        self.stale = torch.zeros_like(self.index)
        self.error, self.before = self.least, self.least
        first = inputs[0] if inputs else None
        self.target = torch.zeros_like(self.least) if first is None else largest_of_rows(first)
        self.damping = Damping(start) if damped else None
        self.anderson = Anderson(memory) if memory else None

    def judge(self, residual: Tensor) -> None:
        """Records the residuals of x."""
        self.before = self.error
        self.error = torch.nan_to_num(largest_of_rows(residual), torch.inf, torch.inf)
        better = self.error < self.least
        self.least = torch.where(better, self.error, self.least)
        self.best = torch.where(like_rows(better, self.x), self.x, self.best)
        self.stale = torch.where(better, 0, self.stale + 1)

    def done(self) -> Tensor:
        """Mask of rows that have converged, or stalled close to the solution."""
        relative = self.least / self.size(self.best)
        limit = torch.finfo(self.x.dtype).eps ** 0.5
        stalled = (self.stale > self.patience) & (relative <= limit)
        return (relative <= self.tolerance) | stalled

    def size(self, x: Tensor) -> Tensor:
        """1 + the largest number of each row of x, or of its target: (B,)."""
        return 1 + torch.maximum(largest_of_rows(x), self.target)

    def keep(self, rows: Tensor) -> None:
        """Keeps only the rows with these indices."""
        names = ("index", "x", "best", "least", "stale", "error", "before", "target")
        for name in names:
            setattr(self, name, getattr(self, name)[rows])
        self.inputs = [None if value is None else value[rows] for value in self.inputs]
        for helper in (self.damping, self.anderson):
            if helper is not None:
                helper.keep(rows)

    def advance(self, proposal: Tensor, residual: Tensor) -> None:
        """Moves to the proposal, or past it (accelerated), or part of the way (damped)."""
        if not torch.isfinite(proposal.sum()):
            # Overflowing elements stay where they are until those they depend on converge.
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
    """The largest absolute value in each row, (B,)."""
    return x.abs().flatten(1).amax(1)


def like_rows(rows: Tensor, x: Tensor) -> Tensor:
    """Reshapes one value for each row, (B,), so that it broadcasts with x (B, *event)."""
    return rows.reshape(-1, *[1] * (x.ndim - 1))


def solve(sweep: Sweep, start: Tensor, inputs: Sequence[Tensor | None] = (), **how: Any) -> Tensor:
    """The x that a sweep leaves unchanged, differentiable by the implicit function theorem.

    At the solution x = G(x, theta) of sweep's first output G, dx/dtheta = (I - dG/dx)^-1
    dG/dtheta. The backward pass is another fixed point, u = v + u dG/dx, and needs the memory of
    one sweep, however many there were. Gradients of first order reach `inputs` and the parameters
    inside the sweep.

    Args:
        sweep: see `Sweep`; rows must not depend on each other.
        start: the first x, (B, *event).
        inputs: further arguments of the sweep, (B, ...) or None; the first is the target, if any.
        how: options of `fixed_point`.

    Raises:
        NumericalError: as `fixed_point` does.
        RuntimeError: a second derivative is requested.
    """
    if is_transformed():
        return _swept_on(sweep, start, inputs, how)
    with torch.no_grad():
        x = fixed_point(sweep, start, inputs, **how).x
    return _attached(sweep, x, inputs, how) if torch.is_grad_enabled() else x


def is_transformed() -> bool:
    """Whether a function transform of `torch.func`, such as `jvp`, is at work."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def _swept_on(
    sweep: Sweep, start: Tensor, inputs: Sequence[Tensor | None], how: dict[str, Any]
) -> Tensor:
    """The solution, from which sweeps go on until its derivatives are those of the solution.

    `torch.func` knows no hooks; the sweeps themselves are differentiated, forward or backward. The
    error of the derivative shrinks as that of a solution does: 300 sweeps by 0.9 leave 1e-13.
    """
    with torch.autograd.forward_ad._set_fwd_grad_enabled(False), torch.no_grad():
        x = fixed_point(sweep, start, inputs, **how).x
    for _ in range(_SWEEPS_ON):
        x, _ = sweep(x, *inputs)
    return x


def _attached(
    sweep: Sweep, solution: Tensor, inputs: Sequence[Tensor | None], how: dict[str, Any]
) -> Tensor:
    """The solution with its gradient by the implicit function theorem."""
    x = solution.detach().requires_grad_()
    proposal, _ = sweep(x, *inputs)
    attached = solution + (proposal - proposal.detach())
    options = {k: v for k, v in how.items() if k in ("most", "patience", "memory")}
    what = f"the gradient of {how.get('what', 'the fixed point')}"

    def adjoint(gradient: Tensor | None) -> Tensor | None:
        if gradient is None:
            return None
        if torch.is_grad_enabled():
            raise RuntimeError("solutions of fixed points have gradients of first order only")
        size = like_rows(largest_of_rows(gradient), gradient)
        size = torch.where(size > 0, size, 1.0)
        target = gradient / size

        def back(u: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
            (pulled,) = torch.autograd.grad(proposal, x, u, retain_graph=True)
            following = v + pulled
            return following, following - u

        u = fixed_point(back, target, (target,), what=what, rows_apart=False, **options).x
        return u * size

    if attached.requires_grad:
        attached.register_hook(adjoint)
    # A view is returned, so that a gradient with respect to it does not trigger the hook.
    return attached.view_as(attached)
