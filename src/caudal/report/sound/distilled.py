"""A student of sounds beside its teacher: what a KL says, and what it does not."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from caudal.report.evaluate import plain
from caudal.report.numbers import number
from caudal.report.sound.averages import Side, draw_averages
from caudal.report.sound.copies import Copy
from caudal.report.sound.measures import CopyMeasures, measure_copies
from caudal.report.sound.spectrograms import Sound
from caudal.report.style import DATA, SAMPLES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEACHER = "#5a8a52"  # neither the data's colour nor that of samples
QUIET, DULL = 3.0, 6.0  # dB below the originals, from which on it is said aloud


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
        copies: the teacher's, of the same clips as the story's.
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
        return verdict(self)

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


def verdict(d: DistilledAudio) -> list[str]:
    """Says aloud when a student is quiet or dull, which a KL alone hides; a line each."""
    low, treble = d.of_student.level.mean, d.of_student.treble.mean
    said = []
    if low < -QUIET:
        said.append(
            f"quiet: its copies are {_db(-low)} dB softer than the "
            f"originals{_beside(d, 'level')}; a KL alone hides that, as soft sounds are likely "
            f"ones under the teacher; give the power or spectrogram loss more weight"
        )
    # Above what is soft as a whole: a quiet copy is not a dull one.
    if treble - min(low, 0.0) < -DULL:
        said.append(
            f"dull: above a quarter of the rate, its average spectrum is {_db(-treble)} dB below "
            f"the originals'{_beside(d, 'treble')}; a KL alone hides that; give the spectrogram "
            f"loss more weight, or train it longer"
        )
    if said:
        return said
    return [
        f"neither quiet nor dull: level {_signed(low)} dB, average spectrum above a quarter of "
        f"the rate {_signed(treble)} dB of the originals"
    ]


def _beside(d: DistilledAudio, measure: str) -> str:
    """The teacher's own, which says whether the student got it from there."""
    value = getattr(d.of_teacher, measure).mean
    return f" (its teacher's: {_signed(value)} dB)"


def _db(value: float) -> str:
    return number(value, 1)


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")


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
