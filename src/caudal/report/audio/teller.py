"""The report of a run on audio: clips and samples to see and to hear, the flow's noise."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from caudal.base import Independent
from caudal.report.audio.copied import Copied, copy_clips
from caudal.report.audio.copies import Copy, clips_to_copy, draw_copies, sound_files
from caudal.report.audio.distilled import DistilledAudio
from caudal.report.audio.film import timeline
from caudal.report.audio.pictures import (
    TEACHER,
    Side,
    caption_of,
    draw_averages,
    draw_noise,
    draw_spectrograms,
    find_noise,
    floors_of,
    player_of,
    sounds_of,
    top_of,
)
from caudal.report.audio.pictures import Sound as Wave
from caudal.report.curves import curves
from caudal.report.film import folder_of
from caudal.report.items import Track
from caudal.report.page import (
    Block,
    Contents,
    Drawn,
    Section,
    Story,
    Teller,
    picture_sections,
    render,
)
from caudal.report.style import DATA, SAMPLES
from caudal.training.progress import duration

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN = 4  # clips
SECONDS = 5.0  # seconds of each clip


@dataclass(frozen=True)
class _Heard:
    """Copies that the report shows, their teacher's and those of floors, or none of these."""

    story: Story
    copies: Sequence[Copy]
    teachers: Sequence[Copy]
    floors: Mapping[str, Sequence[Copy]]
    copied: Copied | None

    @property
    def rate(self) -> int:
        """Samples a second."""
        rate: int = self.story.dataset.schema.rate
        return rate

    @property
    def rows(self) -> list[list[Wave]]:
        """The sounds of each clip, from left to right."""
        if not self.teachers:
            return [sounds_of(copy) for copy in self.copies]
        pairs = zip(self.copies, self.teachers, strict=True)
        return [sounds_of(copy, teacher) for copy, teacher in pairs]

    @property
    def floor_rows(self) -> list[list[Wave]]:
        """What is made of each clip's spectrum without learning; empty without a spectrum."""
        made = zip(*self.floors.values(), strict=True)
        return [floors_of(dict(zip(self.floors, copies, strict=True))) for copies in made]


@dataclass(frozen=True)
class AudioTeller(Teller):
    """Tells the story of a run on audio.

    Attributes:
        seconds: of a clip that are drawn and shown, at most.
        track: shows how far drawing samples has come.
    """

    many: ClassVar[str] = "clips"

    seconds: float = SECONDS
    track: Track | None = None

    def tell(self, story: Story) -> Contents:
        heard = self._heard(story)
        pictures = render(_figures(heard))
        apart = [picture for picture in pictures if picture.name != "spectrograms"]
        sections = [*_sounds(heard), *_timeline(story), *picture_sections(apart)]
        files = sound_files(heard.copies, heard.rate)
        return Contents(self._headline(story), sections, pictures, (), files)

    def _heard(self, story: Story) -> _Heard:
        if isinstance(d := story.distilled, DistilledAudio):
            floors = _first(_below(d.refined_copies, d.floor_copies))
            return _Heard(story, d.student_copies[:SHOWN], d.teacher_copies[:SHOWN], floors, None)
        test, schema = story.dataset.test, story.dataset.schema
        if not schema.mels:
            drawn = draw_copies(
                story.flow,
                test,
                clips_to_copy(test, SHOWN),
                schema,
                seconds=self.seconds,
                track=self.track,
            )
            return _Heard(story, drawn, (), {}, None)
        copied = story.evaluation.copies if story.evaluation else None
        if not isinstance(copied, Copied):
            copied = copy_clips(story.flow, test, schema, SHOWN, self.track, self.seconds)
        if copied is None:
            return _Heard(story, (), (), {}, None)
        below = _first(_below(copied.refined, copied.floors))
        return _Heard(story, copied.copies[:SHOWN], (), below, copied)

    def _headline(self, story: Story) -> str:
        data, schema = story.dataset, story.dataset.schema
        names = [column.name for column in schema.context]
        if schema.mels:
            names.append(f"a log-mel spectrum of {schema.mels} bands")
        what = f"sounds at {schema.size}" + (f", given {', '.join(names)}" if names else "")
        samples = sum(sum(part.lengths) for part in (data.train, data.valid, data.test))
        return f"{what}; {self.parts(story)}, {duration(samples / schema.rate)} in all"


def _below(
    refined: Sequence[Copy], floors: Mapping[str, Sequence[Copy]]
) -> dict[str, Sequence[Copy]]:
    """What stands below each clip: the refined copy, if there is one, and the floors."""
    return {**({"refined": refined} if refined else {}), **floors}


def _first(floors: Mapping[str, Sequence[Copy]]) -> dict[str, Sequence[Copy]]:
    """As many copies of each as are shown."""
    return {name: copies[:SHOWN] for name, copies in floors.items()}


# --- pictures ------------------------------------------------------------------------------------


def _figures(heard: _Heard) -> Iterator[Drawn]:
    if heard.copies:
        drawn = _spectrograms(heard)
        yield "spectrograms", "Samples beside data", _caption(heard), drawn
        yield "averages", "Average spectra", AVERAGES, _averages(heard)
    yield from _noise(heard.story)
    yield from _curves(heard.story)


def _spectrograms(heard: _Heard) -> "Figure":
    names = [caption_of(copy) for copy in heard.copies]
    return draw_spectrograms(heard.rows, names, heard.rate, _top(heard))


def _top(heard: _Heard) -> float:
    """The top of the scale of all spectrograms, which the originals give."""
    return top_of([copy.original for copy in heard.copies], heard.rate) if heard.copies else 0.0


def _averages(heard: _Heard) -> "Figure":
    originals = [copy.original for copy in heard.copies]
    samples = [copy.sample for copy in heard.copies]
    if not heard.teachers:
        sides = [Side("test clips", originals, DATA), Side("samples", samples, SAMPLES)]
    else:
        teachers = Side("teacher", [copy.sample for copy in heard.teachers], TEACHER)
        sides = [Side("originals", originals, DATA), teachers, Side("student", samples, SAMPLES)]
    return draw_averages(sides, heard.rate)


def _noise(story: Story) -> Iterator[Drawn]:
    """The noise of test clips, unless scoring them would take a step a sample."""
    base = story.flow.base
    if story.recipe.scores == "parallel" and isinstance(base, Independent):
        test, schema = story.dataset.test, story.dataset.schema
        noises = find_noise(story.flow, test, clips_to_copy(test), schema, story.seed)
        if noises := [z for z in noises if z.isfinite().all()]:
            caption = NOISE.format(f"{sum(len(z) for z in noises):,}")
            yield "noise", "The noise of test clips", caption, draw_noise(noises, base)


def _curves(story: Story) -> Iterator[Drawn]:
    if story.distilled is not None:
        yield from curves(story, LOSSES, "loss, all terms", 1.0)
    else:
        scale, baseline = 1 / math.log(2), "linear prediction"
        yield from curves(story, "Mean bits a sample", "bits/sample", scale, baseline)


# --- sounds --------------------------------------------------------------------------------------


def _sounds(heard: _Heard) -> Iterator[Section]:
    """Each clip's spectrograms, with the players of its sounds under them, and the floors."""
    blocks: list[Block] = []
    top, shown = _top(heard), list(_side_by_side(heard))
    figures = (
        (f"clip-{i}", name, "", draw_spectrograms([row], [name], heard.rate, top))
        for i, (name, row) in enumerate(shown)
    )
    for picture, (_, row) in zip(render(figures), shown, strict=True):
        blocks += [picture, [player_of(wave, heard.rate) for wave in row]]
    if heard.copied is not None:
        blocks += [heard.copied.table(), *heard.copied.verdict]
    yield Section("Samples beside data", _caption(heard), blocks)


def _timeline(story: Story) -> Iterator[Section]:
    """What training left to listen to, if it left anything."""
    rows = timeline(folder_of(story.folder)) if story.folder else []
    if rows:
        yield Section("Samples as training went on", TIMELINE, rows)


def _side_by_side(heard: _Heard) -> Iterator[tuple[str, list[Wave]]]:
    """The caption and the sounds of each row: of a clip, then of the floors under it."""
    floors = heard.floor_rows or [[]] * len(heard.copies)
    for copy, row, floor in zip(heard.copies, heard.rows, floors, strict=True):
        yield caption_of(copy), row
        if floor:
            yield caption_of(copy), floor


def _caption(heard: _Heard) -> str:
    """How to read the spectrograms and to take the sounds."""
    n = sum(copy.broken for copy in heard.copies)
    how = _how(heard) + (FLOORS if heard.floors else "")
    return how + (BROKEN.format(n, len(heard.copies)) if n else "")


def _how(heard: _Heard) -> str:
    schema = heard.story.dataset.schema
    if heard.teachers:
        return BESIDE_TEACHER
    if schema.mels:
        also = "".join(f" and its {c.name}" for c in schema.context)
        return COPIES.format(mels=schema.mels, also=also)
    if schema.context:
        labels = ", ".join(c.name for c in schema.context)
        return FREELY.format(f"samples for the same labels ({labels})")
    return FREELY.format("samples of the same length")


COPIES = (
    "Test clips, chosen at random. On the left is the recording, on the right what the flow "
    "makes of its {mels}-band log-mel spectrum{also} alone: it has to invent phases and all that "
    "the bands do not contain. The wave is above, the spectrogram below; all have one scale."
)
FREELY = (
    "Test clips, chosen at random, beside {}. A sample is a clip of its own and need not follow "
    "the one on its left. All spectrograms have one scale."
)
BESIDE_TEACHER = (
    "Test clips, chosen at random, beside what the teacher and the student make of the same "
    "context. The wave is above, the spectrogram below; all have one scale."
)
BROKEN = (
    " {} of {} samples have values that are not finite, which are silent here: from noise to "
    "data, the flow is unstable."
)
FLOORS = (
    " Below each, from left to right: the sample refined, which is made consistent with its "
    "spectrum (`caudal sample --refine`); and floors, made of the same spectrum without any "
    "learning: noise in its shape; a sound of nearly its bands, found from random phases by as "
    "many iterations (Griffin-Lim); and noise through the filters of the linear prediction by it."
)
TIMELINE = (
    "The beginning of a test clip, and what the flow made of its context after so many steps, of "
    "the same noise each time."
)
AVERAGES = (
    "Power at each frequency, over all of the clips above. A line below that of the test clips "
    "is quiet; one that falls off beyond the dotted line, a quarter of the rate, is dull. RMS is "
    "over all samples, with 0 dB for a constant at full scale."
)
NOISE = (
    "What the flow makes of {} samples of test clips. For a perfect flow they would be "
    "independent draws of the base. Left: their histogram, with the base's density. Middle: their "
    "normal scores, which lie on the line where the distribution is right. Right: their "
    "autocorrelation, which is within the band (two standard errors) where they are white."
)
LOSSES = "What the student minimised, in nats a sample,"
