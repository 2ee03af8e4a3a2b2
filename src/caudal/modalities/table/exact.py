"""Draws of a student, corrected to be those of its teacher."""

from dataclasses import asdict, replace
from typing import Any

import torch
from torch import Tensor

from caudal.correction import STEPS, check_exact, corrected_sample
from caudal.data import Column, TableSchema
from caudal.errors import InputError
from caudal.modalities.table.account import CorrectionAccount
from caudal.modality import Request, Voice
from caudal.report import number

HEAVY, RARE, MUCH = 0.7, 0.05, 0.05  # Pareto k, acceptance, what is left: beyond, a warning


class Exact(CorrectionAccount):
    """Draws rows as the teacher would, and keeps account of what that took.

    Args:
        student: the model whose draws are the proposals.
        teacher: the run, or the model, whose density decides.
        steps: proposals of each row.

    Raises:
        InputError: the two do not have the same columns, or the density of one is estimated.
    """

    steps = STEPS

    def __init__(self, student: Any, teacher: Any, steps: int) -> None:
        super().__init__()
        self.teacher = student.other(teacher)
        check_same_columns(student, self.teacher)
        check_exact(student.flow, self.teacher.flow)
        self.student, self.steps = student, steps

    def __call__(self, request: Request, generator: torch.Generator) -> Tensor:
        flows = self.student.flow, self.teacher.flow
        like = flows[0].base.like
        context = None if request.context is None else request.context.to(like)
        x, part = corrected_sample(*flows, request.n, context, self.steps, generator)
        self._keep(part)
        return x

    def tell(self, voice: Voice) -> None:
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
        ("columns that are never below others", _above(own), _above(other)),
    ):
        if difference := _difference(mine, its, what, student.name):
            raise InputError(
                f"`exact` {teacher.name}: {difference}; both must have been trained on the same "
                f"columns"
            )


def _above(schema: TableSchema) -> tuple[Column, ...]:
    """Columns that are never below others, each named by the whole rule."""
    inequalities = schema.inequalities
    return tuple(replace(rule.column, name=f"{rule.name} {rule.why}") for rule in inequalities)


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
