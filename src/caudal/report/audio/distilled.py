"""A student of sounds beside its teacher: what a KL says, and what it does not."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch

from caudal.data import Dataset
from caudal.data.audio import Clips
from caudal.data.audio.refinement import STEPS
from caudal.flow import Flow
from caudal.losses import conditional_kl, conditionals
from caudal.report.audio.copies import Copy, clips_to_copy, draw_copies, refine_copies
from caudal.report.audio.floors import draw_floors
from caudal.report.audio.hearing import MISSING, hears
from caudal.report.audio.likeness import CopyMeasures, likeness_rows, measured
from caudal.report.audio.verdict import beside_floors, verdict
from caudal.report.distilled import Distilled, ScreenTable
from caudal.report.items import Track, batch_of, noise
from caudal.report.numbers import number, plain, ratio_two_se
from caudal.report.speed import RATES_HEAD, SamplingRate, sampling_rates
from caudal.training.dressing import undressed

COMPARED, KL_CLIPS = 16, 64  # test clips that both copy, and for which the KL is computed
DRAWS = 16  # draws of each sample in a cross-entropy that is not in closed form


@dataclass(frozen=True, repr=False)
class DistilledAudio(Distilled):
    """How a student of sounds compares to its teacher.

    Attributes:
        kl: KL(student||teacher), nats a sample.
        kl_two_se: two standard errors of it.
        of_teacher: how far the teacher's copies are from the originals.
        of_student: how far the student's copies are.
        of_refined: how far the student's are once they are made consistent with the spectra; None
            where that cannot be done.
        of_floors: how far copies are that are made of spectra without learning, by the floor's
            name.
        speeds: how fast both draw.
        teacher_copies, student_copies: copies of the same clips by both.
        refined_copies: the student's, refined.
        floor_copies: copies of them by each floor.
    """

    kl: float
    kl_two_se: float
    of_teacher: CopyMeasures
    of_student: CopyMeasures
    of_refined: CopyMeasures | None
    of_floors: Mapping[str, CopyMeasures]
    speeds: tuple[SamplingRate, ...]
    teacher_copies: Sequence[Copy]
    student_copies: Sequence[Copy]
    refined_copies: Sequence[Copy]
    floor_copies: Mapping[str, Sequence[Copy]]

    @property
    def verdict(self) -> list[str]:
        floors = beside_floors(self.of_student, self.of_floors)
        if self.of_refined is not None:
            refined = beside_floors(self.of_refined, self.of_floors)
            floors += [f"refined in {STEPS} steps: {line}" for line in refined]
        return [*verdict(self.of_teacher, self.of_student), *floors]

    @property
    def caption(self) -> str:
        floors = " Floors learn nothing of the same spectra." if self.of_floors else ""
        return (
            f"Means over {self.of_student.clips} test clips ± two standard errors, copies against "
            f"originals. A KL alone hides how loud and how bright sounds are.{floors}"
            f"{'' if hears() else f' {MISSING}'}"
        )

    @property
    def headline(self) -> tuple[str, str, str]:
        return self._kl(3), "KL(student||teacher)", "nats/sample"

    def tables(self) -> list[ScreenTable]:
        clips, floors = self.of_student.clips, self.of_floors
        sides = {"teacher": self.of_teacher, "student": self.of_student}
        if self.of_refined is not None:
            sides["refined"] = self.of_refined
        others = len(sides) - 2 + len(floors)
        kl = ["KL(student||teacher)", "", self._kl(4), *[""] * others, "nats a sample"]
        rows = [kl, *likeness_rows(list(sides.values()), floors)]
        title = f"Student beside {self.teacher}, {clips} test clips of each"
        head, looks = ["", *sides, *floors, ""], f" nn{'n' * others} "
        tables = [ScreenTable(title, head, rows, looks)]
        if self.speeds:
            title = "How fast each draws, on the device named"
            rates = [s.words for s in self.speeds]
            tables.append(ScreenTable(title, RATES_HEAD, rates, "  nnnn"))
        return tables

    def _kl(self, digits: int) -> str:
        # There is no error of a single clip.
        error = "" if math.isnan(self.kl_two_se) else f" ± {number(self.kl_two_se, digits)}"
        return number(self.kl, digits) + error

    def measures(self) -> dict[str, Any]:
        return {
            "kl_per_sample": plain(self.kl),
            "kl_per_sample_two_se": plain(self.kl_two_se),
            "teacher_copies": self.of_teacher.to_dict(),
            "student_copies": self.of_student.to_dict(),
            "refined_copies": self.of_refined and self.of_refined.to_dict(),
            "floor_copies": {name: floor.to_dict() for name, floor in self.of_floors.items()},
            "speed": [speed.to_dict() for speed in self.speeds],
        }


def compare_audio(
    student: Flow,
    teacher: Flow,
    dataset: Dataset,
    *,
    name: str,
    terms: Sequence[str],
    track: Track | None = None,
) -> DistilledAudio:
    """Measures a student of sound against its teacher on test clips.

    Args:
        student: put into eval mode, as the teacher is; on the teacher's device, in its dtype.
        teacher: one autoregressive layer of a WaveNet.
        dataset: of both.
        name: of the teacher's run.
        terms: what the student minimised, in words.
        track: shows how far the comparison has come.
    """
    clips, schema = dataset.test, dataset.schema
    indices = clips_to_copy(clips, COMPARED)
    kl = kl_per_sample(student, teacher, clips, clips_to_copy(clips, KL_CLIPS), track=track)
    ours, theirs = (
        draw_copies(flow, clips, indices, schema, track=track) for flow in (student, teacher)
    )
    refined = refine_copies(ours, clips, indices, schema)
    floors = draw_floors(clips, indices, schema)
    first = clips.clip(indices[0])
    speeds = sampling_rates(teacher, student, schema.rate, first.context, first.x.shape[-1])
    return compare_copies(ours, theirs, schema.rate, name, terms, kl, speeds, floors, refined)


def compare_copies(
    student: Sequence[Copy],
    teacher: Sequence[Copy],
    rate: int,
    name: str,
    terms: Sequence[str],
    kl: tuple[float, float],
    speeds: Sequence[SamplingRate] = (),
    floors: Mapping[str, Sequence[Copy]] = MappingProxyType({}),
    refined: Sequence[Copy] = (),
) -> DistilledAudio:
    """Measures copies of the same clips by both, and by floors; the KL and its error are given.

    Refined copies are the student's, made consistent with the spectra.
    """
    of_teacher, of_student = (measured(copies, rate) for copies in (teacher, student))
    of_floors = {name: measured(copies, rate) for name, copies in floors.items()}
    return DistilledAudio(
        name,
        tuple(terms),
        *kl,
        of_teacher,
        of_student,
        measured(refined, rate) if refined else None,
        of_floors,
        tuple(speeds),
        teacher,
        student,
        refined,
        floors,
    )


@torch.no_grad()
def kl_per_sample(
    student: Flow,
    teacher: Flow,
    clips: Clips,
    indices: Sequence[int],
    seed: int = 0,
    track: Track | None = None,
) -> tuple[float, float]:
    """KL(student||teacher) in nats a sample, and two standard errors of it over clips.

    For the context and the length of each clip the student draws a sample of its own, as its
    divergence needs no real sound. It is in closed form where both are Gaussian, given the noise.
    """
    ours, theirs = undressed(student.eval()), undressed(teacher.eval())
    generator = noise(student, seed)
    totals, lengths = [], []
    for index in track(indices, "comparing", len(indices)) if track else indices:
        x, context = batch_of(clips.clip(index))
        rows = None if context is None else teacher.embed(context.to(teacher.base.like))
        z = student.base.sample(len(x), generator, x.shape[-1])
        drawn = conditionals(ours, z, rows)
        apart = conditional_kl(ours, theirs, drawn, rows, DRAWS, generator)
        totals.append(float(apart.kl.double().sum()))
        lengths.append(x.shape[-1])
    return ratio_two_se(
        torch.tensor(totals, dtype=torch.float64), torch.tensor(lengths, dtype=torch.float64)
    )
