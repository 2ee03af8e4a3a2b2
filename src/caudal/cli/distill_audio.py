"""Distilling a run on audio: a WaveNet into a student that speaks in a few passes."""

import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from caudal.cli import finish_audio, preview, preview_audio
from caudal.cli.opened import OpenedRun
from caudal.cli.opened_audio import audio_dataset
from caudal.cli.options import DistillOptions, student_config
from caudal.cli.screen import Screen, number
from caudal.data import Dataset
from caudal.flow import Flow
from caudal.report.sound import (
    Copy,
    DistilledAudio,
    clips_to_copy,
    compare_sounds,
    draw_copies,
    kl_per_sample,
    sampling_rates,
)
from caudal.training.audio_terms import AudioDistillationLoss
from caudal.training.devices import leads
from caudal.training.distill_audio import distill_audio
from caudal.training.options import Training
from caudal.training.progress import RichReporter
from caudal.training.student import build_student

TRAINING = Training(
    steps=4000, batch_size=8, lr=1e-3, ema=0.995, validate_every=250, patience=0, clip=10.0
)
"""How a student of audio trains, if not told otherwise."""
COMPARED, SECONDS = 16, 5.0  # test clips that are copied by both, and what of each
SHOWN = 4  # of them in the report
KL_CLIPS = 64


def run(
    screen: Screen,
    out: Path,
    options: DistillOptions[Any, Any],
    opened: OpenedRun,
    words: Sequence[str],
) -> None:
    """Trains the student, compares it with its teacher, and says so."""
    data = audio_dataset(opened, screen, "distill a run whose clips are there")
    student = build_student(options.recipe, opened.audio, opened.flow, options.training.seed)
    terms = _preview(screen, options, opened, student, data)
    config = student_config(options, opened.config)
    fitted = distill_audio(
        student,
        opened.flow,
        data.train,
        data.valid,
        distillation=options.distillation,
        training=options.training,
        out=out,
        resume=options.resume,
        overwrite=options.overwrite,
        recipe=options.recipe,
        schema=opened.audio,
        reporter=RichReporter(loss=""),
        config=config,
    )
    if leads():
        alike = fitted.flow.to(opened.flow.base.like)  # device and precision
        found, copies = _compare(screen, options, opened, alike, data, terms)
        typed = shlex.join(["caudal", "distill", *words])
        finish_audio.finish_student(
            screen, out, options.recipe, data, fitted, config, found, copies, typed, options.report
        )


def _preview(
    screen: Screen,
    options: DistillOptions[Any, Any],
    opened: OpenedRun,
    student: Flow,
    data: Dataset,
) -> list[str]:
    """Says who learns what from whom; gives the terms that are minimised."""
    screen.say(f"\nteacher: {opened.recipe.name} in {options.teacher}")
    _judge(screen, opened)
    preview_audio.show_data(screen, data)
    preview.show_recipe(screen, options.recipe, student, data, advise=False)
    preview_audio.show_receptive_field(screen, options.recipe, data.schema.rate)
    loss = AudioDistillationLoss(student, opened.flow, options.distillation)
    screen.say(f"minimises {' + '.join(loss.described)}\n")
    return loss.described


def _judge(screen: Screen, opened: OpenedRun) -> None:
    """Says how good the teacher is, as its run found: nobody learns to speak from a bad one."""
    try:
        found = json.loads((opened.folder / "eval.json").read_text(encoding="utf-8"))
        bits, gain = float(found["bits_per_sample"]), float(found["gain"])
    except (OSError, ValueError, LookupError, TypeError):  # not evaluated, or the file was edited
        return
    told = f"{number(abs(gain))} {'below' if gain > 0 else 'above'} a linear prediction"
    screen.say(f"it takes {number(bits)} bits a sample of test clips, {told}")
    if gain <= 0:
        screen.warn("such a teacher has little to teach: train it longer first")


def _compare(
    screen: Screen,
    options: DistillOptions[Any, Any],
    opened: OpenedRun,
    student: Flow,
    data: Dataset,
    terms: Sequence[str],
) -> tuple[DistilledAudio, list[Copy]]:
    """The student beside its teacher on test clips; and its copies of the first of them."""
    teacher, clips, schema = opened.flow, data.test, data.schema
    indices = clips_to_copy(clips, COMPARED)
    kl, kl_two_se = kl_per_sample(
        student, teacher, clips, clips_to_copy(clips, KL_CLIPS), track=screen.track
    )
    screen.say("copying test clips by both")
    ours, theirs = (
        draw_copies(flow, clips, indices, schema, track=screen.track)
        for flow in (student, teacher)
    )
    first = clips.clip(indices[0])
    speeds = sampling_rates(teacher, student, schema.rate, first.context, first.x.shape[-1])
    found = compare_sounds(
        ours,
        theirs,
        schema.rate,
        name=options.teacher,
        terms=terms,
        kl=kl,
        kl_two_se=kl_two_se,
        speeds=speeds,
    )
    return found, ours[:SHOWN]
