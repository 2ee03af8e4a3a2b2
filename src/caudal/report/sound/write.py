"""The report of a run on audio: one page to listen to, its pictures and sounds as files."""

import math
from pathlib import Path

from caudal.report.html import card, escape, image, section, table
from caudal.report.numbers import number
from caudal.report.sound.distilled import (
    MEASURES_HEAD,
    RATES_HEAD,
    DistilledAudio,
    measure_rows,
    rate_rows,
)
from caudal.report.sound.evaluation import AudioEvaluation
from caudal.report.sound.measures import COPIES_HEAD, copy_rows, measure_copies
from caudal.report.sound.pictures import SPECTROGRAMS, draw_all, draw_rows, heard, rows_of
from caudal.report.sound.players import players, write_sounds
from caudal.report.sound.spectrograms import caption_of
from caudal.report.sound.story import AudioStory
from caudal.report.story import duration, parameters
from caudal.report.write import notes, picture_section, run_section, write_page

OUTSIDE = "a sample that the flow does not know, or too far from the data for the flow's precision"

SIDES = ("original", "sample")


def write_audio_report(folder: str | Path, story: AudioStory) -> Path:
    """Writes pictures/*.png, originals/*.wav, samples/*.wav and report.html; gives the last."""
    pictures = draw_all(story)
    write_sounds(folder, story.samples, story.dataset.schema.rate)
    parts = [
        _header(story),
        _cards(story),
        notes(_notes(story)),
        _distilled(story.distilled),
        _sounds(story),
        *(picture_section(p) for p in pictures if p.name != SPECTROGRAMS),
        _numbers(story.evaluation),
        run_section(story.command, story.config),
    ]
    return write_page(folder, story.name, parts, pictures)


def bits(value: float | None, two_se: float | None = None) -> str:
    """Bits a sample to read, with two standard errors where there are any."""
    if value is None or two_se is None or not math.isfinite(value) or math.isnan(two_se):
        return number(value)
    return f"{number(value)} ± {number(two_se)}"


def _header(story: AudioStory) -> str:
    data, schema = story.dataset, story.dataset.schema
    given = [column.name for column in schema.context]
    if schema.mels:
        given.append(f"a log-mel spectrum of {schema.mels} bands")
    what = f"{story.recipe.name} on {data.name}: sounds at {schema.size}"
    if given:
        what += f", given {', '.join(given)}"
    parts = ((data.train, "training"), (data.valid, "validation"), (data.test, "test"))
    clips = ", ".join(f"{len(p.names):,} {which}" for p, which in parts)
    minutes = sum(sum(p.lengths) for p, _ in parts) / schema.rate
    return (
        f"<header><h1>{escape(story.name)}</h1><p>{escape(what)}; {clips} clips, "
        f"{duration(minutes)} in all</p>"
        f"<p>{escape(story.recipe.paper)}, {story.recipe.year}</p></header>"
    )


def _cards(story: AudioStory) -> str:
    cards = [] if story.evaluation is None else _bits_cards(story.evaluation)
    if story.distilled is not None:
        kl = bits(story.distilled.kl, story.distilled.kl_two_se)
        cards.append(card(kl, "KL(student||teacher)", unit="nats/sample", main=not cards))
    cards.append(card(f"{parameters(story.flow):,}", "parameters"))
    if story.seconds is not None:
        cards.append(card(duration(story.seconds), "training"))
    cards.append(card(str(story.seed), "seed"))
    return f'<div class="cards">{"".join(cards)}</div>'


def _bits_cards(e: AudioEvaluation) -> list[str]:
    unit = e.unit
    of = f"of {e.rows:,} {e.split} clips; {e.kind} of the likelihood"
    cards = [card(bits(e.bits_per_sample, e.two_se), of, unit=unit, main=True)]
    if e.discretized_bits_per_sample is not None:
        what = "the same, each step's mass taken whole"
        value = bits(e.discretized_bits_per_sample, e.discretized_two_se)
        cards.append(card(value, what, unit=unit))
    if e.gaussian_bits_per_sample is not None:
        what = "the same clips under a Gaussian autoregression"
        cards.append(card(bits(e.gaussian_bits_per_sample), what, unit=unit))
    if e.gain is not None and e.rows_outside < e.rows:
        what = "flow below the autoregression, clip by clip"
        cards.append(card(bits(e.gain, e.gain_two_se), what, unit=unit))
    return cards


def _notes(story: AudioStory) -> list[str]:
    lines: list[str] = []
    if (e := story.evaluation) is not None:
        lines += [_what(e), f"The autoregression: {e.gaussian}."]
        if story.dataset.schema.n_context:
            lines.append(
                "The probability is that given the context, which the autoregression is not told."
            )
        if e.rows_outside:
            lines.append(
                f"{e.rows_outside:,} of {e.rows:,} clips have probability 0: {OUTSIDE}. "
                f"Over the others it is {bits(e.bits_per_sample_inside, e.two_se)} bits/sample."
            )
    return [*lines, *story.dataset.notes]


def _what(e: AudioEvaluation) -> str:
    """What bits a sample are, and what they can be compared with."""
    whole = " Discretized: the mass of each step whole, by the distribution function; no noise."
    return (
        f"Bits/sample: −log₂ of the probability of all clips, divided by their {e.samples:,} "
        f"samples ({duration(e.duration)}), ± two standard errors by clips; "
        f"{number(e.uniform_bits_per_sample, 0)} if every value were as likely. Fewer is better. "
        f"It is a mass of whole {e.bits}-bit numbers: {number(e.nats_per_sample)} nats a sample. "
        f"As a density in units of amplitude, from −1 to 1, that is "
        f"{number(e.density_nats_per_sample)} nats a sample. The steps between values were filled "
        f"with noise, one draw a clip: the likelihood is bounded from below, bits from above."
        f"{whole if e.discretized_bits_per_sample is not None else ''} To be compared only with "
        f"figures of {e.bits}-bit samples at {e.rate / 1000:g} kHz, of the same clips."
    )


def _distilled(d: DistilledAudio | None) -> str:
    if d is None:
        return ""
    caption = (
        f"Means over {d.of_student.clips} test clips ± two standard errors, copies against "
        f"originals; the student minimised {' + '.join(d.terms)}. What a KL alone hides is how "
        f"loud and how bright its sounds are."
    )
    parts = [notes(d.verdict), table(MEASURES_HEAD, measure_rows(d), " nn ")]
    if d.speeds:
        said = '<p class="caption">How fast each draws, on the device named.</p>'
        parts += [said, table(RATES_HEAD, rate_rows(d.speeds), "  nnnn")]
    return section(f"Beside its teacher, {d.teacher}", caption, *parts)


def _sounds(story: AudioStory) -> str:
    """Each clip's spectrograms, with the players of its sounds under them."""
    rate, parts = story.dataset.schema.rate, []
    rows = zip(story.samples, draw_rows(story), rows_of(story), strict=True)
    for copy, png, sounds in rows:
        parts += [image(png, caption_of(copy)), players(sounds, rate)]
    return section("Samples beside data", heard(story), *parts, _measures(story))


def _measures(story: AudioStory) -> str:
    """How far copies are, where samples are copies: given a spectrum."""
    if story.distilled is not None or not story.dataset.schema.mels or not story.samples:
        return ""
    originals, samples = ([getattr(c, side) for c in story.samples] for side in SIDES)
    measures = measure_copies(originals, samples, story.dataset.schema.rate)
    said = f'<p class="caption">Copies against originals, means over {measures.clips} clips ± '
    said += "two standard errors.</p>"
    return said + table(COPIES_HEAD, copy_rows(measures), " n ")


def _numbers(e: AudioEvaluation | None) -> str:
    """All numbers of the evaluation."""
    if e is None:
        return ""
    rows = [
        ["flow", bits(e.bits_per_sample, e.two_se), e.kind],
        ["discretized", bits(e.discretized_bits_per_sample, e.discretized_two_se), "no noise"],
        ["autoregression", bits(e.gaussian_bits_per_sample), "lower bound"],
        ["uniform", bits(e.uniform_bits_per_sample), "exact"],
    ]
    caption = f"Bits a sample of {e.rows:,} {e.split} clips, {e.samples:,} samples; seed {e.seed}."
    known = [row for row in rows if row[1]]
    return section("Numbers", caption, table(["", "bits/sample", "likelihood"], known, " n "))
