"""Exact samples of a slow flow, or of any density, by means of a flow that samples fast."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from caudal.broadcasting import per_row
from caudal.errors import InputError, NumericalError
from caudal.flow import Flow
from caudal.targets import LogDensity, log_density_of
from caudal.weights import distance_left, effective_share, pareto_k

STEPS = 20
"""20 steps leave at most (1 - 1/M)^20 of the student's error: 1e-6 for weights of up to M = 2, 1 %
for M = 5, 12 % for M = 10. If that is not enough, the student should be trained longer."""


@dataclass(frozen=True, eq=False)
class Correction:
    """Diagnostics of a correction: how well a student's proposals served its teacher.

    Attributes:
        steps: the number of proposals of each row, not counting its first draw.
        moves: the number of proposals that each row accepted, (n,).
        log_weights: log w = log p(x) - log q(x) in nats of every draw of the student, (m,)
            float64: p is the teacher, q the student.
    """

    steps: int
    moves: Tensor
    log_weights: Tensor

    @property
    def rows(self) -> int:
        """The number of samples."""
        return len(self.moves)

    @property
    def acceptance(self) -> float:
        """Share of accepted proposals; NaN without steps."""
        return float(self.moves.double().mean()) / self.steps if self.steps else math.nan

    @property
    def stuck(self) -> float:
        """Share of rows that never moved: they are still draws of the student."""
        return float((self.moves == 0).double().mean())

    @cached_property
    def ess(self) -> float:
        """Effective size of the student's draws as a share of their number (see `weights`)."""
        return effective_share(self.log_weights)

    @cached_property
    def pareto_k(self) -> float:
        """Tail index of the weights (see `weights`): above 0.7 some rows correct slowly."""
        return pareto_k(self.log_weights)

    @cached_property
    def left(self) -> float:
        """Bound of the total variation between samples and teacher, from the observed weights."""
        return distance_left(self.log_weights, self.steps)

    @classmethod
    def join(cls, parts: "Sequence[Correction]") -> "Correction":
        """One correction for the samples of several, which must have equal steps."""
        moves = torch.cat([part.moves for part in parts])
        log_weights = torch.cat([part.log_weights for part in parts])
        return cls(parts[0].steps, moves, log_weights)

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON, in which infinity and NaN become null."""
        names = ("acceptance", "ess", "pareto_k", "stuck", "left")
        values = {name: getattr(self, name) for name in names}
        known = {name: v if math.isfinite(v) else None for name, v in values.items()}
        return {"steps": self.steps, **known}


@torch.no_grad()
def corrected_sample(
    student: Flow,
    teacher: Flow | LogDensity,
    n: int,
    context: Tensor | None = None,
    steps: int = STEPS,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Correction]:
    """N samples (n, *event) of the teacher, from draws of the student: independence Metropolis.

    Each row is a chain of its own. It starts at a draw of the student, and moves to each of
    `steps` further draws x' with probability min(1, w(x') / w(x)), w = p / q, p the teacher and q
    the student. So rows are independent of each other, and the teacher's density is computed
    steps + 1 times for each. If w <= M everywhere, the total variation distance to the teacher is
    at most (1 - 1/M)^steps. Chains run on lifted rows (`Flow.continuous`); their ends are rounded
    like the teacher's samples.

    References: Tierney, Markov chains for exploring posterior distributions, 1994; Mengersen,
    Tweedie, Rates of convergence of the Hastings and Metropolis algorithms, 1996 (the bound);
    Brofos, Gabrie, Brubaker, Lederman, Adaptation of the independent Metropolis-Hastings sampler
    with normalizing flow proposals, 2022, arXiv:2110.13216.

    Args:
        student: the proposal; it should sample in parallel.
        teacher: the flow to sample from; it should score in parallel. Or any function that gives
            log-densities (N,) of rows x (N, *event) up to a constant, such as a
            `caudal.targets.Target`; then there is no context.
        n: the number of samples.
        context: one row for all samples, or n rows; each sample keeps its own.
        steps: the number of proposals of each row; 0 gives samples of the student.
        generator: for all random numbers, on the device of the student.

    Raises:
        InputError: the flows differ in their rows or contexts, or one of them is estimated.
        NumericalError: the density of a draw is not a number.
    """
    if isinstance(teacher, Flow):
        check_pair(student, teacher)
        check_exact(student, teacher)
    elif student.context_shape is not None:
        raise InputError("a density without context has no samples given one")
    if steps < 0:
        raise InputError(f"`steps` must be at least 0, got {steps}")
    proposal = student.continuous()
    target = teacher.continuous() if isinstance(teacher, Flow) else teacher
    x, log_w = weighted_sample(proposal, target, n, context, generator)
    moves, seen = torch.zeros(n, dtype=torch.int32, device=x.device), [log_w]
    for _ in range(steps):
        y, log_v = weighted_sample(proposal, target, n, context, generator)
        uniform = torch.rand(n, generator=generator, dtype=log_w.dtype, device=log_w.device)
        moved = uniform.log() < log_v - log_w  # NaN if both weights are 0: the row stays
        x = torch.where(moved.view(-1, *[1] * (x.ndim - 1)), y, x)
        log_w = torch.where(moved, log_v, log_w)
        moves += moved
        seen.append(log_v)
    if isinstance(teacher, Flow):
        x = x.to(teacher.base.like)
        x = teacher.dequantization.lower(x) if teacher.dequantization else x
    return x.to(student.base.like), Correction(steps, moves.cpu(), torch.cat(seen).cpu())


@torch.no_grad()
def weighted_sample(
    proposal: Flow,
    target: Flow | LogDensity,
    n: int,
    context: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Draws x of the proposal (n, *event), and log w = log target(x) - log proposal(x), (n,).

    log w is in nats and float64, -inf where the target's density is 0. The proposal's density
    comes with its draws, in one pass, so that the proposal may be a flow that scores slowly. If a
    flow is estimated, so is log w: with a generator it is drawn anew for each row, so that its
    mean is right; the mean and the spread of w itself are then too large.

    Raises:
        NumericalError: log w is not a number, or is +inf.
    """
    x, log_q = proposal.sample_with_log_prob(n, context, generator=generator)
    if isinstance(target, Flow):
        like = target.base.like
        rows = per_row(context, (n,), target.context_shape)
        rows = None if rows is None else rows.to(like)
        log_p = target.log_prob(x.to(like), rows, generator)
    else:
        log_p = log_density_of(target, x)
    log_w = log_p.to(log_q.device).double() - log_q.double()
    if (log_w.isnan() | (log_w == torch.inf)).any():
        raise NumericalError(
            "the density of a draw is not a number: a flow is damaged, train it again"
        )
    return x, log_w


def check_pair(student: Flow, teacher: Flow) -> None:
    """Refuses two flows whose rows or contexts differ in shape."""
    shapes = [(f.continuous().event_shape, f.context_shape) for f in (student, teacher)]
    if shapes[0] != shapes[1]:
        ours, theirs = (f"rows {event} and context {context}" for event, context in shapes)
        raise InputError(f"the student has {ours}, the teacher {theirs}: they must be the same")


def check_exact(student: Flow, teacher: Flow) -> None:
    """Refuses flows whose densities are estimates: their errors would affect the samples."""
    for what, flow in (("student", student), ("teacher", teacher)):
        if flow.estimated:
            raise InputError(
                f"the density of the {what} is not exact ({flow.continuous().kind}), which "
                f"correcting samples requires: draw from the teacher itself"
            )
