"""Which pictures a run gets, and what is said under each."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from caudal.report import correlations, curves, density, images, marginals, pairs
from caudal.report.comparison import Comparison
from caudal.report.story import Story
from caudal.report.style import house_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A picture with its place in the report.

    Attributes:
        name: of its file, without suffix.
        title: above it.
        caption: under the title: how to read it.
        png: the picture.
    """

    name: str
    title: str
    caption: str
    png: bytes


def draw_all(story: Story) -> list[Picture]:
    """Every picture that says something about this run."""
    with house_style():
        return [
            Picture(name, title, caption, to_png(figure))
            for name, title, caption, figure in _figures(story)
        ]


def _figures(story: Story) -> Iterator[tuple[str, str, str, "Figure"]]:
    comparison = story.comparison
    if story.distilled is not None:
        yield from _beside_teacher(story.distilled.comparison)
    if images.image_side(comparison.schema):
        yield "images", "Images", IMAGES, images.draw_images(comparison)
    flat = density.has_density(story.flow, comparison)
    if flat:
        yield "density", "Density", DENSITY, density.draw_density(story.flow, comparison)
    yield "marginals", "Each column", _marginals(story), marginals.draw_marginals(comparison)
    if len(comparison.columns) > 1 and not flat:
        yield "pairs", "Pairs of columns", _pairs(story), pairs.draw_pairs(comparison)
    if len(correlations.ordered_columns(comparison)) > 2:
        drawn = correlations.draw_correlations(comparison)
        yield "correlations", "Correlations", CORRELATIONS, drawn
    if curves.has_curves(story.metrics):
        yield "curves", "Training", *_curves(story)


def _curves(story: Story) -> tuple[str, "Figure"]:
    """Caption and figure: of log-likelihoods, or of what a student minimised."""
    if story.distilled is not None:
        return LOSSES, curves.draw_curves(story.metrics, None, "negative loss (nats)")
    return CURVES, curves.draw_curves(story.metrics, story.evaluation.gaussian_log_prob)


def _beside_teacher(comparison: Comparison) -> Iterator[tuple[str, str, str, "Figure"]]:
    if images.image_side(comparison.schema):
        yield "teacher-images", "Student and teacher", TEACHER, images.draw_images(comparison)
    drawn = marginals.draw_marginals(comparison)
    yield "teacher-marginals", "Each column, student and teacher", TEACHER, drawn
    if len(comparison.columns) > 1:
        drawn = pairs.draw_pairs(comparison)
        yield "teacher-pairs", "Pairs of columns, student and teacher", TEACHER, drawn


TEACHER = "As many samples of the teacher as of the student; no data."
IMAGES = "Rows of the data beside samples of the flow, not picked: the first that came."
DENSITY = (
    "The density that the flow learned, between the data it learned from and samples it drew. "
    "Darker is denser."
)
CORRELATIONS = (
    "Spearman's rank correlation of every two columns; categories of more than two levels have "
    "no order and are left out. The colours of the difference have their own scale."
)
CURVES = (
    "Mean log-likelihood in nats a row, higher is better, as training went on; the weights with "
    "the best validation value were kept. The first steps may lie below the frame."
)


LOSSES = (
    "What the student minimised, its sign turned so that higher is better, in nats a row. "
    "Validation: KL(teacher||student) plus KL(student||teacher); the best weights were kept."
)


def _marginals(story: Story) -> str:
    n = len(story.comparison.columns)
    which = f"The {marginals.MOST} of {n} columns that differ most." if n > marginals.MOST else ""
    told = (
        f"Shares of {story.comparison.rows} (filled) and of as many samples (line). The frames "
        f"hold 99.8 % of the data. {which}"
    )
    if marginals.spikes(story.comparison):
        told += (
            " A value of more than half of the rows is told in words, data | samples, and the "
            "histogram is that of the other rows."
        )
    return told


def _pairs(story: Story) -> str:
    n = len(story.comparison.columns)
    which = f"The {pairs.MOST} of {n} columns that hang together most. " if n > pairs.MOST else ""
    return (
        f"{which}Up to {pairs.POINTS} rows on each side, in the same frames; values in steps are "
        f"spread over their step."
    )


def to_png(figure: "Figure") -> bytes:
    """The bytes of a PNG file."""
    buffer = io.BytesIO()
    # Without the version and the date, the same run gives the same bytes.
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
