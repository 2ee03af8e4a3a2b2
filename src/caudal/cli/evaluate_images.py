"""How many bits a run on images takes for images that it has not seen."""

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from caudal.cli.opened import OpenedRun
from caudal.cli.opened_images import image_dataset, other_images
from caudal.cli.results import GAUSSIAN, write_evaluation
from caudal.cli.screen import Screen
from caudal.data import Rows
from caudal.errors import InputError
from caudal.report.estimates import estimate_sentence
from caudal.report.numbers import number
from caudal.report.pixels import (
    ImageEvaluation,
    PixelGaussian,
    evaluate_images,
    fit_pixel_gaussian,
    load_pixel_gaussian,
)
from caudal.report.pixels.write import OUTSIDE, bits

if TYPE_CHECKING:
    from caudal.cli.evaluate import EvalOptions


def run(options: "EvalOptions", opened: OpenedRun, screen: Screen) -> int:
    """Evaluates and shows it."""
    rows, gaussian, split, notes = _rows(options, opened, screen)
    for note in notes:
        screen.warn(note)
    result = evaluate_images(
        opened.flow,
        rows,
        gaussian,
        opened.images,
        split=split,
        limit=options.limit,
        seed=options.seed,
        draws=options.draws,
        track=screen.track,
    )
    if options.data is None and options.limit is None:
        write_evaluation(opened.folder / "eval.json", result)
    show_evaluation(screen, result)
    screen.result(result.to_dict())
    return 0


def show_evaluation(screen: Screen, result: ImageEvaluation) -> None:
    """The numbers side by side, and what they are."""
    screen.say(f"\nbits/dim of {result.rows:,} {result.split} images, mean ± 2 s.e.")
    screen.table(["", "bits/dim", ""], list(_lines(result)), " n ")
    if result.rows_outside < result.rows:
        nats = f"{number(-result.bits_per_dim_inside * result.elements * math.log(2))}"
        drawn = f"{result.draws} draw{'s' * (result.draws > 1)} of the noise an image"
        moves = number(result.noise_two_se, 5)
        screen.say(f"{nats} nats an image; {drawn}, which moves the mean by ± {moves}")
    if sentence := estimate_sentence(result):
        screen.say(sentence)
    if result.rows_outside:
        are = "image has" if result.rows_outside == 1 else "images have"
        screen.warn(f"{result.rows_outside:,} {are} probability 0: {OUTSIDE}")
    screen.say(f"The Gaussian: {result.gaussian}.", style="dim")


def _lines(result: ImageEvaluation) -> Iterator[list[str]]:
    """The flow and the Gaussian over all images, then over those that can be compared."""
    beside = result.gaussian_bits_per_dim is not None
    # The name of an estimate is long enough for a line.
    kind = result.kind + (" of the likelihood" if result.estimate_std is None else "")
    yield ["flow", bits(result.bits_per_dim, result.two_se), kind]
    if result.bits_per_dim_importance is not None:
        what = "the same by importance weights, a tighter bound"
        yield ["flow", bits(result.bits_per_dim_importance), what]
    if beside:
        yield ["Gaussian", bits(result.gaussian_bits_per_dim), ""]
    if result.rows_outside == result.rows:
        return
    of = ""
    if result.rows_outside:
        of = f", {result.rows - result.rows_outside:,} finite images"
        yield ["flow" + of, bits(result.bits_per_dim_inside, result.two_se), result.kind]
    if beside:
        yield ["flow below Gaussian" + of, bits(result.gain, result.gain_two_se), ""]


def _rows(
    options: "EvalOptions", opened: OpenedRun, screen: Screen
) -> tuple[Rows, PixelGaussian | None, str, tuple[str, ...]]:
    """The images, the baseline, what to call the images, and what to say of them."""
    saved = _saved(opened)
    if options.data is not None:
        rows, _, notes = other_images(opened, options.data, options.images, screen)
        return rows, saved, options.data, notes
    dataset = image_dataset(opened, screen)
    gaussian = saved or fit_pixel_gaussian(dataset.train, dataset.schema)
    return dataset.test, gaussian, "test", dataset.notes


def _saved(opened: OpenedRun) -> PixelGaussian | None:
    """The baseline that the run left behind, if it did."""
    path, schema = opened.folder / GAUSSIAN, opened.images
    if not path.exists():
        return None
    gaussian = load_pixel_gaussian(path)
    if (tuple(gaussian.shape), gaussian.levels) != (schema.shape, schema.levels):
        raise InputError(f"{path} is of other images than the run's: remove it, it is made anew")
    return gaussian
