"""Solutions of fixed points with gradients, by the implicit function theorem."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from caudal.numerics.fixed_point import Sweep, fixed_point, largest_of_rows, like_rows


def solve(sweep: Sweep, start: Tensor, given: Sequence[Tensor | None] = (), **how: Any) -> Tensor:
    """The x that a sweep leaves as it is, differentiable by the implicit function theorem.

    At the solution x = G(x, theta) of sweep's first output G, dx/dtheta = (I - dG/dx)^-1
    dG/dtheta: the backward pass is another fixed point, u = v + u dG/dx, and needs the memory of
    one sweep, however many there were. Gradients reach `given` and what the sweep itself holds;
    they are of first order.

    Args:
        sweep: see `Sweep`; rows must not depend on each other.
        start: where to begin, (B, *event).
        given: more arguments of the sweep, (B, ...) or None; the first is the target, if any.
        how: options of `fixed_point`.

    Raises:
        NumericalError: as `fixed_point` does.
        RuntimeError: a gradient of the gradient is asked for.
    """
    with torch.no_grad():
        x = fixed_point(sweep, start, given, **how).x
    return _attached(sweep, x, given, how) if torch.is_grad_enabled() else x


def _attached(
    sweep: Sweep, solution: Tensor, given: Sequence[Tensor | None], how: dict[str, Any]
) -> Tensor:
    """The solution with the gradient that the implicit function theorem gives it."""
    x = solution.detach().requires_grad_()
    proposal, _ = sweep(x, *given)
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

        found = fixed_point(back, target, (target,), what=what, rows_apart=False, **options)
        return found.x * size

    if attached.requires_grad:
        attached.register_hook(adjoint)
    # The hook sits behind what is returned: who takes a gradient in it does not set it off.
    return attached.view_as(attached)
