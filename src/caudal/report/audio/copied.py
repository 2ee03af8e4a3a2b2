"""A flow's copies of clips beside those of the floors: how like the clips they are."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from caudal.data import AudioSchema
from caudal.data.audio import Clips
from caudal.data.audio.refinement import STEPS
from caudal.flow import Flow
from caudal.report.audio.copies import SECONDS, Copy, clips_to_copy, draw_copies, refine_copies
from caudal.report.audio.floors import draw_floors
from caudal.report.audio.hearing import MISSING, hears
from caudal.report.audio.likeness import CopyMeasures, likeness_rows, measured
from caudal.report.audio.verdict import beside_floors
from caudal.report.copying import Copying
from caudal.report.distilled import ScreenTable
from caudal.report.film import evaluating
from caudal.report.items import Track

MOST, IN_ALL = 16, 20.0  # clips that are copied, and about how many seconds of them
_BRIEF, _LONGER = 0.05, 0.3  # seconds of copies by which the time of longer ones is told
_BESIDE = 0.3  # seconds that refinement, floors and measures take for a second of a copy


@dataclass(frozen=True, eq=False)
class Copied(Copying):
    """Copies of clips from their spectra, by a flow and by what learns nothing.

    Attributes:
        copies: the flow's.
        refined: these, made consistent with the spectra; empty where that cannot be done.
        floors: those of each floor, by its name.
        ours: how far the flow's are from the originals.
        of_refined: how far the refined ones are, None without any.
        of_floors: how far the floors' are.
    """

    copies: Sequence[Copy]
    refined: Sequence[Copy]
    floors: Mapping[str, Sequence[Copy]]
    ours: CopyMeasures
    of_refined: CopyMeasures | None
    of_floors: Mapping[str, CopyMeasures]

    @property
    def verdict(self) -> list[str]:
        lines = beside_floors(self.ours, self.of_floors)
        if self.of_refined is not None:
            refined = beside_floors(self.of_refined, self.of_floors)
            lines += [f"refined in {STEPS} steps: {line}" for line in refined]
        return lines

    def table(self) -> ScreenTable:
        n = self.ours.clips
        title = f"Copies against originals, means over {n} clips ± two standard errors"
        sides = {"samples": self.ours}
        if self.of_refined is not None:
            sides["refined"] = self.of_refined
        rows = likeness_rows(list(sides.values()), self.of_floors)
        looks = f" {'n' * (len(sides) + len(self.of_floors))} "
        return ScreenTable(title, ["", *sides, *self.of_floors, ""], rows, looks)

    def sentences(self) -> list[str]:
        return [*self.verdict, *([] if hears() else [MISSING])]

    def to_dict(self) -> dict[str, Any]:
        floors = {name: floor.to_dict() for name, floor in self.of_floors.items()}
        refined = self.of_refined and self.of_refined.to_dict()
        samples = {"samples": self.ours.to_dict(), "refined": refined}
        return {**samples, "floors": floors, "verdict": self.verdict}


def copy_clips(
    flow: Flow,
    clips: Clips,
    schema: AudioSchema,
    limit: int | None = None,
    track: Track | None = None,
    seconds: float = SECONDS,
) -> Copied | None:
    """Copies clips at random, and measures the copies; None if all are silent.

    Args:
        flow: given the spectra of clips.
        clips: to copy.
        schema: what they are.
        limit: how many at most; 16 if not given, and fewer where they are long.
        track: shows how far it has come.
        seconds: of each clip at most.
    """
    indices = _some(clips, schema, MOST if limit is None else min(limit, MOST), seconds)
    if not indices:
        return None
    copies = draw_copies(flow, clips, indices, schema, seconds=seconds, track=track)
    refined = refine_copies(copies, clips, indices, schema, seconds=seconds)
    floors = draw_floors(clips, indices, schema, seconds=seconds)
    of_refined = measured(refined, schema.rate) if refined else None
    of_floors = {name: measured(some, schema.rate) for name, some in floors.items()}
    ours = measured(copies, schema.rate)
    return Copied(copies, refined, floors, ours, of_refined, of_floors)


def copying_seconds(flow: Flow, clips: Clips, schema: AudioSchema) -> tuple[float, int]:
    """Seconds that a copy of a clip and its floors take, and how many `copy_clips` makes.

    They are measured by brief copies, of which the first may compile. The flow is left as it was.
    """
    indices = _some(clips, schema, MOST, SECONDS)
    if not indices:
        return 0.0, 0
    took = []
    with evaluating(flow):
        for seconds in (_BRIEF, _BRIEF, _LONGER):
            start = time.perf_counter()
            draw_copies(flow, clips, indices[:1], schema, seconds=seconds)
            took.append(time.perf_counter() - start)
    lengths = [min(SECONDS, clips.lengths[index] / schema.rate) for index in indices]
    known = min(_LONGER, lengths[0]) - min(_BRIEF, lengths[0])
    slope = max(took[2] - took[1], 0.0) / known if known else took[1] / lengths[0]
    return (slope + _BESIDE) * sum(lengths) / len(indices), len(indices)


def _some(clips: Clips, schema: AudioSchema, most: int, seconds: float) -> list[int]:
    """Clips at random, as many as there is time for."""
    left = IN_ALL
    taken: list[int] = []
    for index in clips_to_copy(clips, most):
        left -= min(seconds, clips.lengths[index] / schema.rate)
        if taken and left < 0:
            break
        taken.append(index)
    return taken
