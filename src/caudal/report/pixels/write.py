"""The report of a run on images: one page to keep or to send, and its pictures as files."""

import math
from pathlib import Path

from caudal.report.estimates import estimate_sentence
from caudal.report.html import card, escape
from caudal.report.numbers import number
from caudal.report.pixels.evaluation import ImageEvaluation
from caudal.report.pixels.pictures import draw_all
from caudal.report.pixels.story import ImageStory
from caudal.report.story import duration, parameters
from caudal.report.write import notes, picture_section, run_section, write_page

OUTSIDE = (
    "a pixel value that the flow does not know, or too far from the data for the flow's precision"
)


def write_image_report(folder: str | Path, story: ImageStory) -> Path:
    """Writes pictures/*.png and report.html into the folder; gives the path of the latter."""
    pictures = draw_all(story)
    parts = [
        _header(story),
        _cards(story),
        notes(_notes(story)),
        *map(picture_section, pictures),
        run_section(story.command, story.config),
    ]
    return write_page(folder, story.name, parts, pictures)


def bits(value: float | None, two_se: float | None = None) -> str:
    """Bits/dim to read, with two standard errors where there are any; in four digits."""
    if value is None or two_se is None or not math.isfinite(value) or math.isnan(two_se):
        return number(value, 4)
    return f"{number(value, 4)} ± {number(two_se, 4)}"


def _header(story: ImageStory) -> str:
    data = story.dataset
    what = f"{story.recipe.name} on {data.name}: images of {data.schema.size}"
    if data.schema.bits != 8:
        what += f" in {data.schema.bits} bits"
    if data.schema.context:
        what += f", given {', '.join(column.name for column in data.schema.context)}"
    rows = f"{len(data.train):,} training, {len(data.valid):,} validation, {len(data.test):,} test"
    return (
        f"<header><h1>{escape(story.name)}</h1><p>{escape(what)}; {rows} images</p>"
        f"<p>{escape(story.recipe.paper)}, {story.recipe.year}</p></header>"
    )


def _cards(story: ImageStory) -> str:
    e = story.evaluation
    of = f"of {e.rows:,} {e.split} images; {e.kind} of the likelihood"
    cards = [card(bits(e.bits_per_dim, e.two_se), of, unit="bits/dim", main=True)]
    if e.bits_per_dim_importance is not None:
        what = f"a tighter bound, by importance weights of {e.draws} draws"
        cards.append(card(bits(e.bits_per_dim_importance), what, unit="bits/dim"))
    if e.gaussian_bits_per_dim is not None:
        what = "the same images under one Gaussian"
        cards.append(card(bits(e.gaussian_bits_per_dim), what, unit="bits/dim"))
    if e.gain is not None and e.rows_outside < e.rows:
        what = "flow below Gaussian, image by image"
        cards.append(card(bits(e.gain, e.gain_two_se), what, unit="bits/dim"))
    if e.noise_std is not None and math.isfinite(e.noise_std):
        what = "spread of one image's bits/dim over draws of the noise"
        cards.append(card(bits(e.noise_std), what, unit="bits/dim"))
    cards.append(card(f"{parameters(story.flow):,}", "parameters"))
    if story.seconds is not None:
        cards.append(card(duration(story.seconds), "training"))
    cards.append(card(str(story.seed), "seed"))
    return f'<div class="cards">{"".join(cards)}</div>'


def _notes(story: ImageStory) -> list[str]:
    e = story.evaluation
    lines = [_what(e), f"The Gaussian: {e.gaussian}."]
    if story.dataset.schema.context:
        lines.append("The probability is that given the class, which the Gaussian is not told.")
    if sentence := estimate_sentence(e):
        lines.append(sentence)
    if e.rows_outside:
        lines.append(
            f"{e.rows_outside:,} of {e.rows:,} images have probability 0: {OUTSIDE}. "
            f"Over the others the mean is {bits(e.bits_per_dim_inside, e.two_se)} bits/dim."
        )
    return [*lines, *story.dataset.notes]


def _what(e: ImageEvaluation) -> str:
    """What bits/dim are, and what they can be compared with."""
    what = (
        f"Bits/dim: −log₂ of the probability of an image, divided by its {e.elements:,} elements; "
        f"the mean over images ± two standard errors, that is {number(e.log_prob, 2)} ± "
        f"{number(e.log_prob_two_se, 2)} nats an image. Fewer is better. "
    )
    what += (
        f"The likelihood is bounded from below, bits/dim from above: the steps between pixel "
        f"values were filled with noise, {e.draws} draw{'s' * (e.draws > 1)} an image, which "
        f"moves the mean by ± {number(e.noise_two_se, 5)}. "
    )
    with_what = f"{e.bits}-bit pixels and the same kind of dequantisation"
    return what + f"To be compared only with figures of {with_what}."
