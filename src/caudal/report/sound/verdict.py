"""What a student's copies say of it, in plain words."""

from caudal.report.numbers import number
from caudal.report.sound.measures import CopyMeasures, Mean

QUIET, DULL = 3.0, 6.0  # dB below the originals, from which on it is said aloud


def verdict(of_teacher: CopyMeasures, of_student: CopyMeasures) -> list[str]:
    """Says aloud when a student is quiet or dull, which a KL alone hides; a line each."""
    low, treble = of_student.level.mean, of_student.treble.mean
    said = []
    if low < -QUIET:
        said.append(
            f"quiet: its copies are {_db(-low)} dB softer than the "
            f"originals{_beside(of_teacher.level)}; a KL alone hides that, as soft sounds are "
            f"likely ones under the teacher; give --spectral more weight"
        )
    # Above what is soft as a whole: a quiet copy is not a dull one.
    if treble - min(low, 0.0) < -DULL:
        said.append(
            f"dull: above a quarter of the rate, its average spectrum is {_db(-treble)} dB below "
            f"the originals'{_beside(of_teacher.treble)}; a KL alone hides that; give "
            f"--spectral more weight, or train it longer"
        )
    if said:
        return said
    return [
        f"neither quiet nor dull: level {_signed(low)} dB, average spectrum above a quarter of "
        f"the rate {_signed(treble)} dB of the originals"
    ]


def _beside(teacher: Mean) -> str:
    """The teacher's own, which says whether the student got it from there."""
    return f" (its teacher's: {_signed(teacher.mean)} dB)"


def _db(value: float) -> str:
    return number(value, 1)


def _signed(value: float) -> str:
    return f"{value:+.1f}".replace("-", "−")
