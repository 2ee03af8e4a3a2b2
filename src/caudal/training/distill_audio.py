"""Parallel WaveNet's distillation: real clips lend their context, the student its own sound."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from caudal.data.source import Source
from caudal.flow import Flow
from caudal.recipes import Recipe
from caudal.training.audio_terms import AudioDistillation, AudioDistillationLoss
from caudal.training.dressing import check_dressed_alike, undressed
from caudal.training.fit import Fitted, fit
from caudal.training.options import Training
from caudal.training.progress import Reporter

if TYPE_CHECKING:
    from caudal.data.audio.schema import AudioSchema


def distill_audio(
    student: Flow,
    teacher: Flow,
    train: Source,
    valid: Source,
    *,
    distillation: AudioDistillation | None = None,
    training: Training | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    overwrite: bool = False,
    recipe: Recipe | None = None,
    schema: "AudioSchema | None" = None,
    reporter: Reporter | None = None,
    config: dict[str, Any] | None = None,
) -> Fitted:
    """Trains a student of sound to be its teacher, in place: `fit` with another loss.

    Args:
        student: assembled for the same schema and dressed as the teacher (`dress_as`).
        teacher: with a fast density; it is left as it is.
        train: clips, whose context both are given, and whose spectra the student's approach.
        valid: clips to select the best weights on.
        distillation: what to learn from.
        training: how.
        out: the run folder to leave behind; it, and what follows, as in `fit`.
        resume: as in `fit`.
        overwrite: as in `fit`.
        recipe: of the student.
        schema: of the clips.
        reporter: as in `fit`.
        config: as in `fit`.

    Raises:
        InputError: the two do not go together, or as `fit`.
        NumericalError: as `fit`.
    """
    check_dressed_alike(student, teacher)
    frozen = copy.deepcopy(teacher).requires_grad_(False).eval()
    bare = undressed(student)
    fitted = fit(
        bare,
        train,
        valid,
        training=training,
        loss=AudioDistillationLoss(student, frozen, distillation or AudioDistillation()),
        whole=student,
        out=out,
        resume=resume,
        overwrite=overwrite,
        recipe=recipe,
        schema=schema,
        reporter=reporter,
        config=config,
    )
    student.to(bare.base.like)  # what is not trained follows: device and precision
    return replace(fitted, flow=student.eval())
