"""A student beside its teacher: what is measured, and how it is told."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from caudal.data import TableSchema
from caudal.flow import Flow
from caudal.report.comparison import Comparison, compare_flows
from caudal.report.fidelity import Fidelity, measure
from caudal.report.numbers import number, plus_minus
from caudal.report.sampling_speed import SamplingSpeed, sampling_speed
from caudal.report.verdict import verdict

WORST = 3  # columns that are named


@dataclass(frozen=True)
class Distilled:
    """How a student compares to its teacher.

    Attributes:
        teacher: its run.
        terms: what the student minimised, in words.
        fidelity: how far it is from the teacher.
        speeds: how long samples take.
        comparison: samples of both.
    """

    teacher: str
    terms: tuple[str, ...]
    fidelity: Fidelity
    speeds: tuple[SamplingSpeed, ...]
    comparison: Comparison

    @property
    def verdict(self) -> list[str]:
        """What to think of it, a line each."""
        return verdict(self.fidelity)

    def to_dict(self) -> dict[str, Any]:
        """The content of compare.json."""
        return {
            "teacher": self.teacher,
            "terms": list(self.terms),
            "verdict": self.verdict,
            **self.fidelity.to_dict(),
            "speed": [speed.to_dict() for speed in self.speeds],
        }


def compare_students(
    student: Flow,
    teacher: Flow,
    schema: TableSchema,
    contexts: Tensor | None,
    *,
    name: str,
    terms: Sequence[str],
    seed: int = 0,
) -> Distilled:
    """Measures a student against its teacher; `name` is the teacher's."""
    names = [column.name for column in schema.columns]
    return Distilled(
        name,
        tuple(terms),
        measure(student, teacher, contexts, seed=seed, names=names),
        tuple(sampling_speed(student, teacher, contexts)),
        compare_flows(student, teacher, schema, contexts, seed),
    )


def fidelity_rows(f: Fidelity) -> list[list[str]]:
    """Name, value and meaning of each measure, for tables on screen and in the report."""
    reverse, forward = f"{f.reverse_kl_per_dim:.4f}", f"{f.forward_kl_per_dim:.4f}"
    worst = ", ".join(f"{name} {distance:.3f}" for name, distance in f.ks[:WORST])
    return [
        [
            "KL(student||teacher)",
            plus_minus(f.reverse_kl, f.reverse_two_se),
            f"nats a row, {reverse} a number: what it draws and should not",
        ],
        [
            "KL(teacher||student)",
            plus_minus(f.forward_kl, f.forward_two_se),
            f"nats a row, {forward} a number: what it should draw and does not",
        ],
        ["effective size", f"{f.ess:.1%}", "of student samples weighted to be the teacher's"],
        [
            "Pareto k",
            number(f.pareto_k, 2),
            "tail of those weights; above 0.7 they are unreliable",
        ],
        ["missed", f"{f.missed:.2%}", "of teacher samples, whose density is 5 nats too low"],
        [
            "classifier AUC",
            f"{f.auc:.3f} ± {2 * f.auc_se:.3f}",
            "telling the two apart; 0.5 cannot",
        ],
        ["worst columns", worst, "Kolmogorov-Smirnov distance"],
    ]


def speed_rows(speeds: Sequence[SamplingSpeed]) -> list[list[str]]:
    """Milliseconds of each way, for the same tables; empty where it would take too long."""
    return [
        [
            f"{s.n:,}",
            *(number(ms, 2) for ms in (s.passes_ms, s.stepping_ms, s.student_ms)),
            *("" if r is None else f"{r:,.1f}" for r in (s.passes_ratio, s.stepping_ratio)),
        ]
        for s in speeds
    ]


SPEED_HEAD = [
    "samples",
    "teacher, D passes",
    "teacher, stepping",
    "student",
    "D passes / student",
    "stepping / student",
]
