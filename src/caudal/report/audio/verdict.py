"""What to think of copies of sounds: whether they are quiet, dull, or below a floor."""

from collections.abc import Mapping

from caudal.report.audio.likeness import CopyMeasures, Mean, Measure
from caudal.report.numbers import number, signed

QUIET, DULL = 3.0, 6.0  # dB below the originals from which the verdict mentions it


def verdict(of_teacher: CopyMeasures, of_student: CopyMeasures) -> list[str]:
    """Whether a student is quiet or dull, which a KL alone hides; a line each."""
    low, treble = of_student.level.mean, of_student.treble.mean
    faults = []
    if low < -QUIET:
        faults.append(
            f"quiet: its copies are {number(-low, 1)} dB softer than the "
            f"originals{_beside(of_teacher.level)}; a KL alone hides that, as soft sounds are "
            f"likely ones under the teacher; give `spectral` more weight"
        )
    # Treble counts relative to the level as a whole: a quiet copy is not a dull one.
    if treble - min(low, 0.0) < -DULL:
        faults.append(
            f"dull: above a quarter of the rate, its average spectrum is {number(-treble, 1)} dB "
            f"below the originals'{_beside(of_teacher.treble)}; a KL alone hides that; give "
            f"`spectral` more weight, or train it longer"
        )
    if faults:
        return faults
    return [
        f"neither quiet nor dull: level {signed(low)} dB, average spectrum above a quarter of "
        f"the rate {signed(treble)} dB of the originals"
    ]


def _beside(teacher: Mean) -> str:
    """The teacher's value, which tells whether the student learned the fault from it."""
    return f" (its teacher's: {signed(teacher.mean)} dB)"


def beside_floors(ours: CopyMeasures, floors: Mapping[str, CopyMeasures]) -> list[str]:
    """Which floors, which learn nothing, make better copies, and by which measures: a line.

    There is none without floors, or for a single clip. A floor is better where the difference,
    clip by clip, is beyond two standard errors.
    """
    if not floors or ours.clips < 2:
        return []
    better = {name: _better(floor, ours) for name, floor in floors.items()}
    count, names = len(ours.taken), list(floors)
    if not any(better.values()):
        which = f"{', '.join(names[:-1])} and {names[-1]}"
        none = f"none of {count} measures"
        return [f"below no floor: {which}, which learn nothing, are better in {none}"]
    parts = [f"{name} in {_listed(some, count)}" for name, some in better.items()]
    return [f"below floors that learn nothing: {'; '.join(parts)}"]


def _listed(some: list[Measure], count: int) -> str:
    if not some:
        return "none"
    return f"{len(some)} of {count} measures ({', '.join(m.words for m in some)})"


def _better(floor: CopyMeasures, ours: CopyMeasures) -> list[Measure]:
    """The measures by which the floor is better beyond chance, clip by clip."""
    measures = []
    for measure in ours.taken:
        own, other = (measure.fault(side.of(measure).values) for side in (ours, floor))
        ahead = Mean(own - other)
        if ahead.mean > 2 * ahead.se:  # false if either is NaN
            measures.append(measure)
    return measures
