"""`caudal sample --exact`: draws of a student, corrected to be those of its teacher."""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from caudal.cli.opened import OpenedRun
from caudal.cli.screen import Screen, number
from caudal.correction import Correction, check_exact, corrected_sample
from caudal.data import Column
from caudal.errors import InputError

Draw = Callable[[int, Tensor | None, torch.Generator], Tensor]
"""N rows (n, D), given n contexts."""
HEAVY, RARE, MUCH = 0.7, 0.05, 0.05  # Pareto k, acceptance, what is left: beyond, a warning
ENOUGH = 1 << 20  # weights: they take 8 MiB, and more would not change what they say


class Exact:
    """Draws rows as the teacher would, and keeps account of what that took.

    Args:
        student: whose draws are the proposals.
        teacher: the run, or model file, whose density decides.
        steps: proposals of each row.
        device: of the teacher.

    Raises:
        InputError: the two do not have the same columns, or the density of one is estimated.
    """

    def __init__(self, student: OpenedRun, teacher: str, steps: int, device: str) -> None:
        self.teacher = OpenedRun(teacher, device)
        check_same_columns(student, self.teacher)
        check_exact(student.flow, self.teacher.flow)
        self.student, self.steps = student, steps
        self._parts: list[Correction] = []

    def __call__(self, n: int, context: Tensor | None, generator: torch.Generator) -> Tensor:
        flows = self.student.flow, self.teacher.flow
        x, part = corrected_sample(*flows, n, context, self.steps, generator)
        enough = sum(len(each.log_weights) for each in self._parts) >= ENOUGH
        self._parts.append(replace(part, log_weights=part.log_weights[:0]) if enough else part)
        return x

    @cached_property
    def total(self) -> Correction:
        """Of all rows, once they are drawn."""
        return Correction.join(self._parts)

    def tell(self, screen: Screen) -> None:
        """What the correction took, and what to think of it."""
        total, k = self.total, number(self.total.pareto_k, 2) or "not known"
        screen.say(
            f"corrected to {self.teacher.name} in {total.steps} steps: acceptance "
            f"{total.acceptance:.1%}, effective size {total.ess:.1%} of the draws, Pareto k {k}; "
            f"by these weights, at most {100 * total.left:.2g}% of the rows are not the teacher's"
        )
        if total.pareto_k > HEAVY:
            screen.warn(
                f"Pareto k above {HEAVY}: the student lacks some of what the teacher has, so rows "
                f"there are too few or too alike; train the student longer"
            )
        if total.acceptance < RARE:
            screen.warn(
                f"acceptance below {RARE:.0%}: {total.stuck:.1%} of the rows are draws of the "
                f"student as they were; give more --exact-steps, or train the student longer"
            )
        elif total.left > MUCH:
            screen.warn(f"{total.steps} steps are few for this student: give more --exact-steps")

    def result(self) -> dict[str, Any]:
        """For JSON."""
        return {"teacher": self.teacher.name, **self.total.to_dict()}


def check_same_columns(student: OpenedRun, teacher: OpenedRun) -> None:
    """Refuses two runs whose densities are not of the same rows: columns, supports, steps.

    What type the user's file has a column in does not matter.
    """
    own, other = student.table, teacher.table
    for what, mine, its in (
        ("columns", own.columns, other.columns),
        ("context columns", own.context, other.context),
    ):
        if difference := _difference(mine, its, what, student.name):
            raise InputError(
                f"--exact {teacher.name}: {difference}; both must have been trained on the same "
                f"columns"
            )


def _difference(
    own: tuple[Column, ...], other: tuple[Column, ...], what: str, student: str
) -> str:
    """The first thing in which a teacher is not as its student; empty if there is none."""
    if len(own) != len(other):
        return f"it has {len(other)} {what}, {student} {len(own)}"
    for column, beside in zip(map(asdict, own), map(asdict, other), strict=True):
        for key in column:  # the name comes first
            if key != "dtype" and column[key] != beside[key]:
                of = what if key == "name" else f"column '{column['name']}'"
                return f"of its {of}, {key} is {beside[key]!r}, and {column[key]!r} in {student}"
    return ""
