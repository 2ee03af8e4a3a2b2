"""A student of sounds beside its teacher: what a KL says, and what it does not."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from caudal.report.evaluate import plain
from caudal.report.numbers import number
from caudal.report.sound.averages import Side, draw_averages
from caudal.report.sound.copies import Copy
from caudal.report.sound.measures import MEASURES, CopyMeasures, measure_copies, with_error
from caudal.report.sound.spectrograms import Sound
from caudal.report.sound.verdict import verdict
from caudal.report.style import DATA, SAMPLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEACHER = "#5a8a52"  # neither the data's colour nor that of samples


@dataclass(frozen=True)
class SamplingRate:
    """How fast sounds are drawn: `seconds` of them took `took` seconds, on a device in words."""

    who: str
    seconds: float
    took: float
    rate: int
    device: str = "cpu"

    @property
    def times_real(self) -> float:
        """Seconds of sound a second."""
        return self.seconds / self.took

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "who": self.who,
            "seconds": self.seconds,
            "took": self.took,
            "device": self.device,
            "samples_per_second": self.times_real * self.rate,
            "times_real": self.times_real,
        }


@dataclass(frozen=True)
class DistilledAudio:
    """How a student compares to its teacher.

    Attributes:
        teacher: its run.
        terms: what the student minimised, in words.
        kl: KL(student||teacher), nats a sample.
        kl_two_se: two standard errors of it.
        of_teacher: how far the teacher's copies are from the originals.
        of_student: how far the student's are.
        speeds: how fast both draw.
        copies: the teacher's, the first of them of the same clips as the story's.
    """

    teacher: str
    terms: tuple[str, ...]
    kl: float
    kl_two_se: float
    of_teacher: CopyMeasures
    of_student: CopyMeasures
    speeds: tuple[SamplingRate, ...]
    copies: Sequence[Copy]

    @property
    def verdict(self) -> list[str]:
        """What to think of it, a line each."""
        return verdict(self.of_teacher, self.of_student)

    def to_dict(self) -> dict[str, Any]:
        """The content of compare.json."""
        return {
            "teacher": self.teacher,
            "terms": list(self.terms),
            "verdict": self.verdict,
            "kl_per_sample": plain(self.kl),
            "kl_per_sample_two_se": plain(self.kl_two_se),
            "teacher_copies": self.of_teacher.to_dict(),
            "student_copies": self.of_student.to_dict(),
            "speed": [speed.to_dict() for speed in self.speeds],
        }


def compare_sounds(
    student: Sequence[Copy],
    teacher: Sequence[Copy],
    rate: int,
    *,
    name: str,
    terms: Sequence[str],
    kl: float,
    kl_two_se: float,
    speeds: Sequence[SamplingRate] = (),
) -> DistilledAudio:
    """Measures copies of both of the same clips; `name` is the teacher's run, KLs are given."""
    of_teacher, of_student = (
        measure_copies([c.original for c in copies], [c.sample for c in copies], rate)
        for copies in (teacher, student)
    )
    return DistilledAudio(
        name, tuple(terms), kl, kl_two_se, of_teacher, of_student, tuple(speeds), teacher
    )


MEASURES_HEAD = ["", "teacher", "student", ""]


def measure_rows(d: DistilledAudio) -> list[list[str]]:
    """Name, the teacher's value, the student's and the meaning of each measure, for tables."""
    kl = number(d.kl, 4)
    if not math.isnan(d.kl_two_se):  # as it is of a single clip
        kl += f" ± {number(d.kl_two_se, 4)}"
    rows = [["KL(student||teacher)", "", kl, "nats a sample"]]
    for name, words, meaning in MEASURES:
        pair = [with_error(getattr(side, name)) for side in (d.of_teacher, d.of_student)]
        rows.append([words, *pair, meaning])
    return rows


RATES_HEAD = ["", "on", "seconds of sound", "took (s)", "samples a second", "times real time"]


def rate_rows(speeds: Sequence[SamplingRate]) -> list[list[str]]:
    """How fast each draws, for tables."""
    return [
        [
            s.who,
            s.device,
            number(s.seconds, 2),
            number(s.took, 3),
            f"{s.times_real * s.rate:,.0f}",
            number(s.times_real, 3),
        ]
        for s in speeds
    ]


def sounds_of(student: Copy, teacher: Copy) -> list[Sound]:
    """Original, teacher's and student's, from left to right."""
    return [
        Sound("original", student.original, DATA),
        Sound("teacher", teacher.sample, TEACHER),
        Sound("student", student.sample, SAMPLES),
    ]


def draw_averages_beside_teacher(
    students: Sequence[Copy], teachers: Sequence[Copy], rate: int
) -> "Figure":
    """Average spectra of the three."""
    return draw_averages(
        [
            Side("originals", [c.original for c in students], DATA),
            Side("teacher", [c.sample for c in teachers], TEACHER),
            Side("student", [c.sample for c in students], SAMPLES),
        ],
        rate,
    )
