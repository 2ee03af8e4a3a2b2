"""How many bits a sample a run on audio takes for clips that it has not heard."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from caudal.cli.datasets import refuse_given, refuse_reading
from caudal.cli.opened import OpenedRun
from caudal.cli.opened_audio import audio_dataset, other_clips
from caudal.cli.results import GAUSSIAN, write_evaluation
from caudal.cli.screen import Screen
from caudal.data.audio import Clips
from caudal.flow import Flow
from caudal.losses import discretized_log_prob, is_discretizable
from caudal.report.numbers import number
from caudal.report.sound import (
    AudioEvaluation,
    Autoregression,
    evaluate_audio,
    fit_autoregression,
    load_autoregression,
)
from caudal.report.sound.evaluate import Discretized
from caudal.report.sound.write import OUTSIDE, bits

if TYPE_CHECKING:
    from caudal.cli.evaluate import EvalOptions


def run(options: "EvalOptions", opened: OpenedRun, screen: Screen) -> int:
    """Evaluates and shows it."""
    refuse_given(options, ["draws"], "images", f"{options.run} models audio")
    refuse_reading(options.images, options.run, "audio", but="corrupt")
    clips, baseline, split, notes = _clips(options, opened, screen)
    for note in notes:
        screen.warn(note)
    if opened.recipe.scores == "sequential":
        screen.warn(
            f"{opened.recipe.name} scores one sample at a time, which takes long: --limit takes "
            f"fewer clips"
        )
    result = evaluate_audio(
        opened.flow,
        clips,
        baseline,
        opened.audio,
        split=split,
        limit=options.limit,
        seed=options.seed,
        discretized=discretized(opened.flow),
        track=screen.track,
    )
    if options.data is None and options.limit is None:
        write_evaluation(opened.folder / "eval.json", result)
    show_evaluation(screen, result)
    screen.result(result.to_dict())
    return 0


def discretized(flow: Flow) -> Discretized | None:
    """What gives the mass of whole numbers, where there is such a thing."""
    return discretized_log_prob if is_discretizable(flow) else None


def show_evaluation(screen: Screen, result: AudioEvaluation) -> None:
    """The numbers side by side, and what they are."""
    clips = "clip" if result.rows == 1 else "clips"
    screen.say(f"\nbits a sample of {result.rows:,} {result.split} {clips}, mean ± 2 s.e.")
    screen.table(["", "bits/sample", ""], list(_lines(result)), " n ")
    screen.say(
        f"{number(result.nats_per_sample)} nats a sample, a mass of {result.bits}-bit numbers; "
        f"{number(result.density_nats_per_sample)} as a density of amplitudes in [-1, 1]"
    )
    if result.rows_outside:
        are = "clip has" if result.rows_outside == 1 else "clips have"
        screen.warn(f"{result.rows_outside:,} {are} probability 0: {OUTSIDE}")
    screen.say(f"The linear prediction: {result.gaussian}.", style="dim")


def _lines(result: AudioEvaluation) -> Iterator[list[str]]:
    """The flow, its discretised mass, the baselines, and the gain over them."""
    yield ["flow", bits(result.bits_per_sample, result.two_se), f"{result.kind} of the likelihood"]
    if result.rows_outside and result.rows_outside < result.rows:
        of = f"flow, {result.rows - result.rows_outside:,} finite clips"
        yield [of, bits(result.bits_per_sample_inside, result.two_se), ""]
    if result.discretized_bits_per_sample is not None:
        value = bits(result.discretized_bits_per_sample, result.discretized_two_se)
        yield ["flow, discretised", value, "no noise"]
    if result.gaussian_bits_per_sample is not None:
        yield ["linear prediction", bits(result.gaussian_bits_per_sample), ""]
    yield ["uniform", bits(result.uniform_bits_per_sample), ""]
    if result.gain is not None:
        yield ["flow below linear prediction", bits(result.gain, result.gain_two_se), ""]


def _clips(
    options: "EvalOptions", opened: OpenedRun, screen: Screen
) -> tuple[Clips, Autoregression | None, str, tuple[str, ...]]:
    """The clips, the baseline, what to call the clips, and what to say of them."""
    path = opened.folder / GAUSSIAN
    saved = load_autoregression(path) if path.exists() else None
    if options.data is not None:
        clips, notes = other_clips(opened, options.data, options.images.corrupt, screen)
        return clips, saved, options.data, notes
    dataset = audio_dataset(opened, screen)
    return (
        dataset.test,
        saved or fit_autoregression(dataset.train, dataset.schema),
        "test",
        dataset.notes,
    )
