"""Which pictures a run on images gets, and what is said under each."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from torch import Tensor

from caudal.data.source import Rows
from caudal.report.curves import draw_curves, has_curves
from caudal.report.pictures import Picture, to_png
from caudal.report.pixels import between, filmstrip, neighbours, reconstructions, samples
from caudal.report.pixels.draw import broken, sample_images, some_images
from caudal.report.pixels.evaluate import nats_of_a_bit
from caudal.report.pixels.statistics import draw_moments, draw_values
from caudal.report.pixels.story import ImageStory
from caudal.report.style import house_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POOL = 256
PIXELS = 2**20  # of the pool: fewer images where they are large
Drawn = tuple[str, str, str, "Figure"]


def draw_all(story: ImageStory) -> list[Picture]:
    """Every picture that says something about this run."""
    with house_style():
        return [
            Picture(name, title, caption, to_png(figure))
            for name, title, caption, figure in _figures(story)
        ]


def _figures(story: ImageStory) -> Iterator[Drawn]:
    flow, data, seed = story.flow, story.dataset, story.seed
    test = some_images(data.test, _pool(story), seed)
    sampled = sample_images(flow, data.schema, len(test), test.context, seed=seed + 1)
    drawn = samples.draw_samples(flow, data.schema, data.test, seed)
    yield "samples", "Samples beside data", _samples(story, sampled), drawn
    drawn = samples.draw_temperatures(flow, data.schema, seed)
    yield "temperatures", "Temperature", TEMPERATURES, drawn
    yield _manifold(story)
    sampled = sampled.nan_to_num(0.0)
    found = neighbours.find_neighbours(sampled, test.x, data.train)
    drawn = neighbours.draw_neighbours(found, data.schema, data.train)
    yield "neighbours", "Nearest training images", _neighbours(found), drawn
    yield _reconstructions(story, test)
    if story.filmstrip is not None and filmstrip.has_filmstrip(story.filmstrip):
        drawn = filmstrip.draw_filmstrip(story.filmstrip)
        yield "filmstrip", "Samples as training went on", FILMSTRIP, drawn
    if has_curves(story.metrics):
        yield "curves", "Training", CURVES, _curves(story)
    n = f"{len(test):,}"
    drawn = draw_values(test.x, sampled, data.schema)
    yield "values", "Pixel values", VALUES.format(n), drawn
    drawn = draw_moments(test.x, sampled, data.schema)
    yield "moments", "Mean and spread of each pixel", MOMENTS.format(n), drawn


def _pool(story: ImageStory) -> int:
    return max(64, min(POOL, PIXELS // story.dataset.schema.countable))


def _samples(story: ImageStory, sampled: Tensor) -> str:
    said = "Test images beside samples at temperature 1, not picked: those that chance brought."
    if story.dataset.schema.context:
        said += " A class in each row."
    if lost := broken(sampled):
        said += (
            f" {lost:,} of {len(sampled):,} samples have values that are not finite, which are "
            f"black in the pictures: from noise to data, the flow is unstable."
        )
    return said


def _manifold(story: ImageStory) -> Drawn:
    schema = story.dataset.schema
    images, context = between.four_examples(schema, story.dataset.test)
    drawn = between.draw_manifold(story.flow, schema, images, context, seed=story.seed)
    caption = MANIFOLD + (CLASSES if context is not None else "")
    return "manifold", "Between four images", caption, drawn


def _neighbours(found: neighbours.Neighbours) -> str:
    sampled, test = found.medians
    return NEIGHBOURS.format(
        training=f"{found.training:,}",
        n=len(found.samples),
        sampled=f"{sampled:.2f}",
        test=f"{test:.2f}",
        ratio=f"{found.ratio:.2f}",
    )


def _reconstructions(story: ImageStory, test: Rows) -> Drawn:
    some = some_images(test, 12)
    found = reconstructions.reconstruct(story.flow, some, story.seed)
    drawn = reconstructions.draw_reconstructions(found, story.dataset.schema)
    exact = "every image came back as it was"
    if found.changed:
        exact = f"{found.changed:,} of {found.images.numel():,} pixel values came back different"
    caption = RECONSTRUCTIONS.format(n=len(some), largest=f"{found.largest:.1e}", exact=exact)
    return "reconstructions", "There and back", caption, drawn


def _curves(story: ImageStory) -> "Figure":
    gaussian = story.evaluation.gaussian_bits_per_dim
    scale = 1 / nats_of_a_bit(story.dataset.schema)
    return draw_curves(story.metrics, gaussian, "bits/dim", scale)


TEMPERATURES = (
    "The same noise in each row, multiplied by the temperature T on its left. Below 1 samples are "
    "likelier and less varied; only those at T = 1 are samples of the density whose bits/dim are "
    "told."
)
MANIFOLD = (
    "Four test images, and what the flow makes of the noise between theirs, along arcs of the "
    "sphere near which noise lies. The corners of the grid are the images themselves, encoded and "
    "decoded."
)
CLASSES = " Each cell is drawn given the class of its nearest corner."
NEIGHBOURS = (
    "On top samples, and beside them test images, which the flow has not seen; under each the "
    "nearest of {training} training images, pixel by pixel. Numbers are distances to the nearest: "
    "the root of the mean squared difference, in steps between pixel values. A flow that learned "
    "images by heart draws samples that look like the images under them and lie much nearer to "
    "them than test images do. Medians over {n}: {sampled} from samples, {test} from test images, "
    "ratio {ratio}; far below 1 means copies, far above 1 samples unlike any image."
)
RECONSTRUCTIONS = (
    "Test images, what came back of them through noise, decode(encode(x)), and the error before "
    "rounding, enlarged. Its largest value over {n} images is {largest} of the step between pixel "
    "values; {exact}."
)
FILMSTRIP = "The same noise in each row, decoded by the flow as it was after so many steps."
CURVES = (
    "Mean bits/dim, lower is better, as training went on; the weights with the best validation "
    "value were kept. The first steps may lie above the frame."
)
VALUES = "Shares of each value in {} test images (filled) and in as many samples (line)."
MOMENTS = "Over {} test images and as many samples; deviations are brightened alike."
