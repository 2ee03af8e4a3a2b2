"""Draws of a student, corrected to be those of its teacher."""

from dataclasses import asdict, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from caudal.correction import STEPS, Correction, check_exact, corrected_sample
from caudal.data import Column, TableSchema
from caudal.errors import InputError
from caudal.modality import Request, Voice
from caudal.report import number

HEAVY, RARE, MUCH = 0.7, 0.05, 0.05  # Pareto k, acceptance, what is left: beyond, a warning
ENOUGH = 1 << 20  # weights: they take 8 MiB, and more would not change what they say


class Exact:
    """Draws rows as the teacher would, and keeps account of what that took.

    Args:
        student: the model whose draws are the proposals.
        teacher: the run, or the model, whose density decides.
        steps: proposals of each row.

    Raises:
        InputError: the two do not have the same columns, or the density of one is estimated.
    """

    key, steps = "exact", STEPS

    def __init__(self, student: Any, teacher: Any, steps: int) -> None:
        self.teacher = student.other(teacher)
        check_same_columns(student, self.teacher)
        check_exact(student.flow, self.teacher.flow)
        self.student, self.steps = student, steps
        self._parts: list[Correction] = []

    def __call__(self, request: Request, generator: torch.Generator) -> Tensor:
        flows = self.student.flow, self.teacher.flow
        like = flows[0].base.like
        context = None if request.context is None else request.context.to(like)
        x, part = corrected_sample(*flows, request.n, context, self.steps, generator)
        enough = sum(len(each.log_weights) for each in self._parts) >= ENOUGH
        self._parts.append(replace(part, log_weights=part.log_weights[:0]) if enough else part)
        return x

    def summary(self) -> "Exact":
        """This account, once all rows are drawn."""
        return self

    @cached_property
    def total(self) -> Correction:
        """The account over all rows, once they are drawn."""
        return Correction.join(self._parts)

    def tell(self, voice: Voice) -> None:
        """Tells what the correction took, and what to think of it."""
        total, k = self.total, number(self.total.pareto_k, 2) or "not known"
        voice.say(
            f"corrected to {self.teacher.name} in {total.steps} steps: acceptance "
            f"{total.acceptance:.1%}, effective size {total.ess:.1%} of the draws, Pareto k {k}; "
            f"by these weights, at most {100 * total.left:.2g}% of the rows are not the teacher's"
        )
        if total.pareto_k > HEAVY:
            voice.note(
                f"Pareto k above {HEAVY}: the student lacks some of what the teacher has, so rows "
                f"there are too few or too alike; train the student longer"
            )
        if total.acceptance < RARE:
            voice.note(
                f"acceptance below {RARE:.0%}: {total.stuck:.1%} of the rows are draws of the "
                f"student as they were; give more `exact_steps`, or train the student longer"
            )
        elif total.left > MUCH:
            voice.note(f"{total.steps} steps are few for this student: give more `exact_steps`")

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"teacher": self.teacher.name, **self.total.to_dict()}


def check_same_columns(student: Any, teacher: Any) -> None:
    """Refuses two models whose densities are not of the same rows: columns, supports, steps.

    The type that the user's file has a column in does not matter.

    Raises:
        InputError: the first difference.
    """
    own, other = student.schema, teacher.schema
    if not isinstance(other, TableSchema):
        raise InputError(f"{teacher.name} models {other.what}, not {own.what}")
    for what, mine, its in (
        ("columns", own.columns, other.columns),
        ("context columns", own.context, other.context),
    ):
        if difference := _difference(mine, its, what, student.name):
            raise InputError(
                f"`exact` {teacher.name}: {difference}; both must have been trained on the same "
                f"columns"
            )


def _difference(
    own: tuple[Column, ...], other: tuple[Column, ...], what: str, student: str
) -> str:
    """The first thing in which a teacher differs from its student; empty if there is none."""
    if len(own) != len(other):
        return f"it has {len(other)} {what}, {student} {len(own)}"
    for column, beside in zip(map(asdict, own), map(asdict, other), strict=True):
        for key in column:  # the name comes first
            if key != "dtype" and column[key] != beside[key]:
                of = what if key == "name" else f"column '{column['name']}'"
                return f"of its {of}, {key} is {beside[key]!r}, and {column[key]!r} in {student}"
    return ""
