"""Exact samples of a flow that samples slowly, out of one that samples fast."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from caudal.errors import InputError, NumericalError
from caudal.flow import Flow, per_sample
from caudal.weights import distance_left, effective_share, pareto_k

STEPS = 20
"""Leaves at most (1 - 1/M)^20 of the student's error: 1e-6 for weights of up to M = 2, 1 % for
M = 5, 12 % for M = 10. A student for which that is not enough is worth training on."""


@dataclass(frozen=True, eq=False)
class Correction:
    """How well the proposals of a student did for its teacher.

    Attributes:
        steps: proposals that each row had, beside the draw it started from.
        moves: how many of them each row accepted, (n,).
        log_weights: log w = log p(x) - log q(x) in nats of every draw of the student, (m,)
            float64: p is the teacher, q the student.
    """

    steps: int
    moves: Tensor
    log_weights: Tensor

    @property
    def rows(self) -> int:
        """How many samples."""
        return len(self.moves)

    @property
    def acceptance(self) -> float:
        """Share of the proposals that were accepted; NaN without steps."""
        return float(self.moves.double().mean()) / self.steps if self.steps else math.nan

    @property
    def stuck(self) -> float:
        """Share of rows that never moved: they are draws of the student still."""
        return float((self.moves == 0).double().mean())

    @cached_property
    def ess(self) -> float:
        """Effective size of the student's draws, as a share of them (`weights`)."""
        return effective_share(self.log_weights)

    @cached_property
    def pareto_k(self) -> float:
        """Tail index of the weights (`weights`): above 0.7 the correction is slow in places."""
        return pareto_k(self.log_weights)

    @cached_property
    def left(self) -> float:
        """Total variation between the samples and the teacher, at most, from the weights seen."""
        return distance_left(self.log_weights, self.steps)

    @classmethod
    def join(cls, parts: "Sequence[Correction]") -> "Correction":
        """One for the samples of several, all of as many steps."""
        moves = torch.cat([part.moves for part in parts])
        log_weights = torch.cat([part.log_weights for part in parts])
        return cls(parts[0].steps, moves, log_weights)

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which knows neither infinity nor NaN: both are null."""
        names = ("acceptance", "ess", "pareto_k", "stuck", "left")
        values = {name: getattr(self, name) for name in names}
        known = {name: v if math.isfinite(v) else None for name, v in values.items()}
        return {"steps": self.steps, **known}


@torch.no_grad()
def corrected_sample(
    student: Flow,
    teacher: Flow,
    n: int,
    context: Tensor | None = None,
    steps: int = STEPS,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Correction]:
    """N samples (n, *event) of the teacher, by draws of the student: independence Metropolis.

    Each row is a chain of its own. It starts at a draw of the student, and moves to each of
    `steps` further draws x' with chance min(1, w(x') / w(x)), w = p / q, p the teacher and q the
    student. So rows are independent of each other, and of the teacher only the density is needed,
    steps + 1 times. Where w <= M everywhere, the total variation distance to the teacher is
    at most (1 - 1/M)^steps. Chains are of lifted rows (`Flow.continuous`); what they end at is
    rounded as the teacher's samples are.

    References: Tierney, Markov chains for exploring posterior distributions, 1994; Mengersen,
    Tweedie, Rates of convergence of the Hastings and Metropolis algorithms, 1996 (the bound);
    Brofos, Gabrie, Brubaker, Lederman, Adaptation of the independent Metropolis-Hastings sampler
    with normalizing flow proposals, 2022, arXiv:2110.13216.

    Args:
        student: the proposal; it should sample in parallel.
        teacher: whose samples are wanted; it should score in parallel.
        n: how many.
        context: one row for all of them, or n rows; a row keeps its own.
        steps: proposals of each row. 0 gives samples of the student.
        generator: of all that is drawn, on the device of the student.

    Raises:
        InputError: the two flows are not of the same rows and contexts, or one is estimated.
        NumericalError: a draw has no density that is a number.
    """
    check_pair(student, teacher)
    check_exact(student, teacher)
    if steps < 0:
        raise InputError(f"steps must be at least 0, got {steps}")
    proposal, target = student.continuous(), teacher.continuous()
    x, log_w = weighted_sample(proposal, target, n, context, generator)
    moves, seen = torch.zeros(n, dtype=torch.int32, device=x.device), [log_w]
    for _ in range(steps):
        y, log_v = weighted_sample(proposal, target, n, context, generator)
        uniform = torch.rand(n, generator=generator, dtype=log_w.dtype, device=log_w.device)
        moved = uniform.log() < log_v - log_w  # NaN where both weights are 0: the row stays
        x = torch.where(moved.view(-1, *[1] * (x.ndim - 1)), y, x)
        log_w = torch.where(moved, log_v, log_w)
        moves += moved
        seen.append(log_v)
    x = x.to(teacher.base.like)
    x = teacher.dequantization.lower(x) if teacher.dequantization else x
    return x.to(student.base.like), Correction(steps, moves.cpu(), torch.cat(seen).cpu())


@torch.no_grad()
def weighted_sample(
    proposal: Flow,
    target: Flow,
    n: int,
    context: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    """Draws x of the proposal (n, *event), and log w = log target(x) - log proposal(x), (n,).

    In nats and float64; -inf where the target's density is 0. The proposal's density comes with
    its draws, in one pass, so that it may be a flow that scores slowly. Of estimated flows log w
    is an estimate too, with a generator drawn anew for each row, so that its mean is right; w
    itself is then too high in the mean, and too uneven.

    Raises:
        NumericalError: log w is not a number, or infinite upwards.
    """
    x, log_q = proposal.sample_with_log_prob(n, context, generator=generator)
    like = target.base.like
    rows = per_sample(context, n, target.context_shape)
    rows = None if rows is None else rows.to(like)
    log_p = target.log_prob(x.to(like), rows, generator)
    log_w = log_p.to(log_q.device).double() - log_q.double()
    if (log_w.isnan() | (log_w == torch.inf)).any():
        raise NumericalError("a draw has no density that is a number: a flow is damaged, retrain")
    return x, log_w


def check_pair(student: Flow, teacher: Flow) -> None:
    """Refuses two flows whose densities are not of the same rows given the same contexts."""
    shapes = [(f.continuous().event_shape, f.context_shape) for f in (student, teacher)]
    if shapes[0] != shapes[1]:
        (own, context), (other, given) = shapes
        raise InputError(
            f"the student has rows {own} and context {context}, the teacher {other} and {given}: "
            f"they must be the same"
        )


def check_exact(student: Flow, teacher: Flow) -> None:
    """Refuses flows whose densities are estimates: their errors would be in the samples."""
    for what, flow in (("student", student), ("teacher", teacher)):
        if flow.estimated:
            raise InputError(
                f"the density of the {what} is no exact one ({flow.continuous().kind}), which "
                f"correcting samples takes: draw from the teacher itself"
            )
