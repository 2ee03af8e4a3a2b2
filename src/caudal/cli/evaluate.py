"""`caudal eval`: how well a run explains rows it has not seen."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from tyro.conf import FlagCreatePairsOff, Positional

from caudal.cli import evaluate_audio, evaluate_images
from caudal.cli.datasets import refuse_given, refuse_reading
from caudal.cli.opened import OpenedRun
from caudal.cli.options import ReadingOptions
from caudal.cli.parse import parse
from caudal.cli.results import GAUSSIAN, write_evaluation
from caudal.cli.screen import Screen
from caudal.data import Source, open_rows
from caudal.errors import InputError
from caudal.report import Evaluation, evaluate, fit_gaussian
from caudal.report.estimates import estimate_sentence, upper_bound
from caudal.report.gaussian import Gaussian, load_gaussian
from caudal.report.numbers import OUTSIDE, number, plus_minus
from caudal.training.seeds import check_seed


@dataclass(frozen=True)
class EvalOptions:
    """Mean log-likelihood of the test rows of a run, in nats a row and in the units of the data.

    Of images, mean bits/dim; of audio, bits a sample. Beside it, that of one Gaussian with full
    covariance fitted to the training rows; of audio, of a linear prediction with Gaussian errors.
    The result goes to eval.json in the run folder, unless --data or --limit make it one of other
    rows.
    """

    run: Positional[str]
    """Run folder, or a model file."""
    data: str | None = None
    """Other rows to evaluate: all of this table, or of these images, instead of the run's own
    test rows."""
    limit: int | None = None
    """Evaluate so many rows only, taken from all over the table, always the same ones."""
    seed: int = 0
    """Of the noise that fills values in steps and missing ones, and of estimates; without any
    of these, it is not used."""
    draws: int = 1
    """Images: how often that noise is drawn for each, and its log-probability averaged."""
    images: ReadingOptions = ReadingOptions()
    device: str = "auto"
    """cpu, cuda, cuda:1, mps, or auto for a GPU if there is one."""
    json: FlagCreatePairsOff[bool] = False
    """Print the result as one JSON object on standard output, all else on standard error."""


def run(words: list[str]) -> int:
    """Runs the command."""
    options = parse(EvalOptions, words, "caudal eval")
    if options.limit is not None and options.limit < 1:
        raise InputError(f"--limit {options.limit}: must be at least 1")
    check_seed(options.seed)
    screen = Screen(options.json)
    if options.draws < 1:
        raise InputError(f"--draws {options.draws}: must be at least 1")
    opened = OpenedRun(options.run, options.device)
    if opened.has_audio:
        return evaluate_audio.run(options, opened, screen)
    if opened.has_images:
        return evaluate_images.run(options, opened, screen)
    refuse_given(options, ["draws"], "images", f"{options.run} models rows of a table")
    refuse_reading(options.images, options.run)
    source, gaussian, split, notes = _rows(opened, options.data)
    for note in notes:
        screen.warn(note)
    result = evaluate(
        opened.flow,
        source,
        gaussian,
        opened.table,
        split=split,
        limit=options.limit,
        seed=options.seed,
    )
    if options.data is None and options.limit is None:
        write_evaluation(opened.folder / "eval.json", result)
    show_evaluation(screen, result)
    screen.result(result.to_dict())
    return 0


def show_evaluation(screen: Screen, result: Evaluation) -> None:
    """The numbers side by side, and what they are."""
    screen.say(f"\nlog-likelihood of {result.rows:,} {result.split} rows, mean ± 2 s.e.")
    screen.table(["", "nats a row", ""], list(_lines(result)), " n ")
    if result.bits_per_dim is not None and math.isfinite(result.bits_per_dim):
        bound = upper_bound(result.kind)
        screen.say(f"{number(result.bits_per_dim, 4)} bits per column ({bound})")
    if sentence := estimate_sentence(result):
        screen.say(sentence)
    if result.rows_outside:
        rows = (
            "1 row scores" if result.rows_outside == 1 else f"{result.rows_outside:,} rows score"
        )
        screen.warn(f"{rows} −∞: {OUTSIDE}")
    screen.say(f"The Gaussian: {result.gaussian}.", style="dim")


def _lines(result: Evaluation) -> Iterator[list[str]]:
    """The flow and the Gaussian over all rows, then over those that can be compared."""
    beside = result.gaussian_log_prob is not None
    yield ["flow", plus_minus(result.log_prob, result.two_se), result.kind]
    if beside:
        yield ["Gaussian", number(result.gaussian_log_prob), ""]
    if result.rows_outside == result.rows:
        return
    of = ""
    if result.rows_outside:
        of = f", {result.rows - result.rows_outside:,} finite rows"
        yield ["flow" + of, plus_minus(result.log_prob_inside, result.two_se), result.kind]
        if beside:
            yield ["Gaussian" + of, number(result.gaussian_log_prob_inside), ""]
    if beside:
        yield ["flow above Gaussian" + of, plus_minus(result.gain, result.gain_two_se), ""]


def _rows(opened: OpenedRun, data: str | None) -> tuple[Source, Gaussian | None, str, list[str]]:
    """The rows, the baseline, what to call the rows, and what to say of them."""
    saved = _saved(opened)
    if data is not None:
        missing = "drop" if opened.drops else "refuse"
        items = open_rows(data, opened.table, missing)
        return items.source, saved, data, list(items.notes)
    dataset = opened.dataset()
    gaussian = saved or fit_gaussian(opened.flow, dataset.train)
    return dataset.test, gaussian, "test", list(dataset.notes)


def _saved(opened: OpenedRun) -> Gaussian | None:
    """The baseline that the run left behind, if it did."""
    path = opened.folder / GAUSSIAN
    if not path.exists():
        return None
    gaussian = load_gaussian(path)
    if gaussian.bias.shape != opened.flow.base.event_shape:
        raise InputError(f"{path} is of other columns than the run's: remove it, it is made anew")
    return gaussian
