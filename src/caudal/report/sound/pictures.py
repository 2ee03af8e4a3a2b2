"""Which pictures a run on audio gets, and what is said under each."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from caudal.base import Independent
from caudal.report.curves import draw_curves, has_curves
from caudal.report.pictures import Picture, to_png
from caudal.report.sound.averages import Side, draw_averages
from caudal.report.sound.copies import Copy, clips_to_copy
from caudal.report.sound.distilled import draw_averages_beside_teacher, sounds_of
from caudal.report.sound.residuals import draw_noise, find_noise
from caudal.report.sound.spectrograms import (
    Sound,
    both,
    caption_of,
    draw_spectrograms,
    top_of,
)
from caudal.report.sound.story import AudioStory
from caudal.report.style import DATA, SAMPLES, house_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Drawn = tuple[str, str, str, "Figure"]
SPECTROGRAMS = "spectrograms"


def draw_all(story: AudioStory) -> list[Picture]:
    """Every picture that says something about this run."""
    with house_style():
        return [
            Picture(name, title, caption, to_png(figure))
            for name, title, caption, figure in _figures(story)
        ]


def draw_rows(story: AudioStory) -> list[bytes]:
    """The spectrograms of each clip alone, as PNG, to have its players under it; one scale."""
    with house_style():
        return [to_png(_spectrograms(story, slice(i, i + 1))) for i in range(len(story.samples))]


def rows_of(story: AudioStory) -> list[list[Sound]]:
    """The sounds of each clip, from left to right: original, teacher's if any, the flow's."""
    if story.distilled is None:
        return [both(copy) for copy in story.samples]
    pairs = zip(story.samples, teachers_of(story), strict=True)
    return [sounds_of(student, teacher) for student, teacher in pairs]


def teachers_of(story: AudioStory) -> Sequence[Copy]:
    """The teacher's copies of the clips that the story shows, which may be the first of many."""
    return story.distilled.copies[: len(story.samples)] if story.distilled else ()


def heard(story: AudioStory) -> str:
    """How to read the spectrograms and to take the sounds."""
    return _heard(story) + _broken(story)


def _broken(story: AudioStory) -> str:
    n = sum(copy.broken for copy in story.samples)
    return BROKEN.format(n, len(story.samples)) if n else ""


def _heard(story: AudioStory) -> str:
    if story.distilled is not None:
        return BESIDE_TEACHER
    schema = story.dataset.schema
    if schema.mels:
        also = "".join(f" and its {c.name}" for c in schema.context)
        return COPIES.format(mels=schema.mels, also=also)
    return GIVEN.format(", ".join(c.name for c in schema.context)) if schema.context else FREELY


def _figures(story: AudioStory) -> Iterator[Drawn]:
    if story.samples:
        drawn = _spectrograms(story, slice(None))
        yield SPECTROGRAMS, "Samples beside data", heard(story), drawn
        yield "averages", "Average spectra", AVERAGES, _averages(story)
    base = story.flow.base
    if story.recipe.scores == "parallel" and isinstance(base, Independent):
        # Of others a pass would be one step a sample.
        test, schema = story.dataset.test, story.dataset.schema
        noises = find_noise(story.flow, test, clips_to_copy(test), schema, story.seed)
        if noises := [z for z in noises if z.isfinite().all()]:
            n = f"{sum(len(z) for z in noises):,}"
            drawn = draw_noise(noises, base)
            yield "noise", "The noise of test clips", NOISE.format(n), drawn
    if has_curves(story.metrics):
        yield "curves", "Training", *_curves(story)


def _spectrograms(story: AudioStory, some: slice) -> "Figure":
    rate = story.dataset.schema.rate
    top = top_of([copy.original for copy in story.samples], rate)
    names = [caption_of(copy) for copy in story.samples]
    return draw_spectrograms(rows_of(story)[some], names[some], rate, top)


def _averages(story: AudioStory) -> "Figure":
    rate, copies = story.dataset.schema.rate, story.samples
    if story.distilled is not None:
        return draw_averages_beside_teacher(copies, teachers_of(story), rate)
    sides = [
        Side("test clips", [c.original for c in copies], DATA),
        Side("samples", [c.sample for c in copies], SAMPLES),
    ]
    return draw_averages(sides, rate)


def _curves(story: AudioStory) -> tuple[str, "Figure"]:
    """Caption and figure: of bits a sample, or of what a student minimised."""
    if story.distilled is not None:
        return LOSSES, draw_curves(story.metrics, None, "loss, all terms", 1.0)
    baseline = story.evaluation.gaussian_bits_per_sample if story.evaluation else None
    scale = 1 / math.log(2)
    beside = "linear prediction"
    return CURVES, draw_curves(story.metrics, baseline, "bits/sample", scale, beside)


COPIES = (
    "Test clips, not picked: those that chance brought. On the left the recording, on the right "
    "what the flow makes of its {mels}-band log-mel spectrum{also} alone: it has to invent phases "
    "and all that the bands do not tell. Wave above, spectrogram below, all on one scale."
)
GIVEN = (
    "Test clips beside samples for the same labels ({}), neither picked. A sample is a clip of "
    "its own, and need not follow the one on its left. Spectrograms are all on one scale."
)
FREELY = (
    "Test clips beside samples as long as they, neither picked. A sample is a clip of its own, "
    "and need not follow the one on its left. Spectrograms are all on one scale."
)
BESIDE_TEACHER = (
    "Test clips, not picked, beside what the teacher and the student make of the same context. "
    "Wave above, spectrogram below, all on one scale."
)
BROKEN = (
    " {} of {} samples have values that are not finite, which are silent here: from noise to "
    "data, the flow is unstable."
)
AVERAGES = (
    "Power at each frequency, over all of the clips above: a line that lies below that of the "
    "test clips is quiet, one that falls off beyond the dotted line, a quarter of the rate, is "
    "dull. RMS: of all samples, 0 dB being a constant at full scale."
)
NOISE = (
    "What the flow makes of {} samples of test clips. Were it perfect, they would be draws of the "
    "base, independent. Left: their histogram, with the base's density. Middle: their normal "
    "scores, which lie on the line where the distribution is right. Right: their autocorrelation, "
    "which is within the band (two standard errors) where they are white."
)
CURVES = (
    "Mean bits a sample, lower is better, as training went on; the weights with the best "
    "validation value were kept. The first steps may lie above the frame."
)
LOSSES = (
    "What the student minimised, in nats a sample, lower is better; the weights with the best "
    "validation value were kept. The first steps may lie above the frame."
)
