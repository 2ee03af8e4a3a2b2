"""Scoring data with a flow and a baseline."""

import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import repeat
from typing import Any

import torch
from torch import Tensor

from caudal.base import FREE
from caudal.data import Batch, Schema, Source, item_rows
from caudal.data.source import effective_rows, weights_of
from caudal.dequantization import PixelDequantization, VariationalDequantization
from caudal.errors import InputError, NumericalError
from caudal.flow import DRAWS, Flow
from caudal.losses import bits_per_dim, discretized_log_prob, is_discretizable
from caudal.numerics import Repeats, RowGenerator
from caudal.report.baseline import Baseline, baseline_type
from caudal.report.beginning import Beginning
from caudal.report.evaluation import Evaluation
from caudal.report.items import (
    Track,
    place,
    row_noise,
    some_rows,
)
from caudal.report.noise import noise_errors
from caudal.report.units import units_of
from caudal.training.together import in_turns

REDRAWN = 256  # items that are scored again


@torch.no_grad()
def evaluate(
    flow: Flow,
    source: Source,
    baseline: Baseline | None,
    schema: Schema,
    *,
    split: str = "test",
    limit: int | None = None,
    seed: int = 0,
    draws: int = 1,
    track: Track | None = None,
    beginning: Beginning | None = None,
) -> Evaluation:
    """Scores items whole, as they are, with the flow and the baseline.

    Args:
        flow: put into eval mode.
        source: the items.
        baseline: fitted to the training items; None where these are not known.
        schema: what the items are.
        split: what to call them.
        limit: score at most so many, from all over the source and always the same ones.
        seed: of the noise that fills steps and gaps, and of estimates.
        draws: of that noise for each item.
        track: shows how far scoring has come.
        beginning: of the training rows, a second baseline.

    Raises:
        NumericalError: a log-probability is NaN, or infinite upwards.
        InputError: there are no items.
    """
    flow.eval()
    batches: Iterable[Batch] = source.items(limit)
    if track is not None:
        n = source.n_items if limit is None else min(limit, source.n_items)
        batches = track(batches, "evaluating", math.ceil(n / source.items_at_a_time))
    scored = _scores(flow, batches, baseline, beginning, draws, seed)
    scores = torch.cat(scored) if scored else torch.empty(0, 7)
    scores = scores[scores[:, 6] > 0]
    if not len(scores):
        raise InputError(f"no {split} {schema.many} to evaluate")
    result = _summary(scores, flow, source, baseline, schema, split, seed, draws)
    return result if beginning is None else _beside(result, flow, scores, beginning)


def _beside(result: Evaluation, flow: Flow, scores: Tensor, beginning: Beginning) -> Evaluation:
    """The evaluation with the scores of the second baseline over the items inside."""
    inside, units = scores[scores[:, 0] > -torch.inf], units_of(flow, result.unit, scores)
    gain, gain_two_se = units.gain(inside[:, 0], inside[:, 5], inside)
    return replace(
        result,
        beginning=units.mean(inside[:, 5], inside)[0],
        beginning_gain=gain,
        beginning_gain_two_se=gain_two_se,
        beginning_note=beginning.note,
        beginning_name=beginning.name,
        beginning_short=beginning.short,
        beginning_key=beginning.key,
    )


@torch.no_grad()
def log_prob_items(
    flow: Flow, batch: Batch, seed: int = 0, draws: int = DRAWS
) -> tuple[Tensor, Tensor]:
    """Log-probability of each item, the mean of several draws, and its standard error, (B,).

    Both are float64 and in nats, on the flow's device; the error is 0 where nothing is drawn, and
    NaN for a single draw. An item outside the support has -inf. Large batches are scored in parts;
    the noise belongs to each item's values and the seed, so that neither the parts nor the other
    items change its score.

    Raises:
        NumericalError: a log-probability is NaN, or infinite upwards.
    """
    size = item_rows(batch.x.shape[1:])
    contexts = repeat(None) if batch.context is None else batch.context.split(size)
    log_probs, errors = [], []
    for x, context in zip(batch.x.split(size), contexts, strict=False):
        x, context = place(flow, Batch(x, context))
        generator = row_noise(flow, seed, draws)
        if draws == 1:
            log_prob = flow.log_prob(x, context, generator)
            error = torch.full_like(log_prob, torch.nan if flow.noisy else 0.0)
        else:
            log_prob, error = flow.log_prob_with_error(x, context, draws, generator)
        log_probs.append(_checked(log_prob.double()))
        errors.append(error.double())
    return torch.cat(log_probs), torch.cat(errors)


def _checked(log_prob: Tensor) -> Tensor:
    if (log_prob.isnan() | (log_prob == torch.inf)).any():
        raise NumericalError("a log-density is not a number: the model is damaged, retrain")
    return log_prob


def _scores(
    flow: Flow,
    batches: Iterable[Batch],
    baseline: Baseline | None,
    beginning: Beginning | None,
    draws: int,
    seed: int,
) -> list[Tensor]:
    """Scores of the items of each batch, (B, 7) float64 in nats.

    The columns are the flow's mean over draws, its importance bound, the baseline's score, the
    discretised one, the number of elements, the score of the second baseline (NaN without one),
    and the weight of the item.
    The noise belongs to each item's values, but is another one in each of several equal items,
    whose mean it would otherwise move as one.
    """
    repeats, whole = Repeats(), is_discretizable(flow)

    def score(counted: tuple[Batch, Tensor | None]) -> Tensor:
        batch, repeat = counted
        x, context = batch = place(flow, batch)
        generator, same, again = (row_noise(flow, seed, repeat=repeat) for _ in range(3))
        own = RowGenerator("cpu", seed, repeat=repeat)
        log_probs = [flow.log_prob(x, context, generator).double() for _ in range(draws)]
        drawn = _checked(torch.stack(log_probs)).cpu()
        unknown = torch.full((len(x),), torch.nan, dtype=torch.float64)
        beside = baseline.log_prob(flow, batch, same, own).cpu() if baseline else unknown
        mass = _checked(discretized_log_prob(flow, x, context)) if whole else unknown
        importance = drawn.logsumexp(0) - math.log(draws)
        elements = torch.full_like(unknown, x[0].numel())
        begun = beginning.log_prob(batch, again).cpu() if beginning else unknown
        weights = weights_of(batch)
        each = torch.ones_like(unknown) if weights is None else weights.double().cpu()
        parts = (drawn.mean(0), importance, beside, mass.double().cpu(), elements, begun, each)
        return torch.stack(parts, 1)

    each = ((b, repeats.of(b.x, b.context) if flow.noisy else None) for b in batches)
    return [scores for _, scores in in_turns(each, score)]


def _summary(
    scores: Tensor,
    flow: Flow,
    source: Source,
    baseline: Baseline | None,
    schema: Schema,
    split: str,
    seed: int,
    draws: int,
) -> Evaluation:
    """What the scores (N, 7) of `_scores` come to."""
    one, many, unit = schema.one, schema.many, schema.unit
    fixed = FREE not in flow.base.event_shape
    units = units_of(flow, unit, scores)
    ours, importance, beside, mass, _, _, weights = scores.unbind(1)
    inside = scores[ours > -torch.inf]
    outside = len(scores) - len(inside)
    score, two_se = units.mean(inside[:, 0], inside)
    more: dict[str, Any] = {"effective_rows": effective_rows(weights)} if units.weighted else {}
    n = int(effective_rows(inside[:, 6])) * draws if len(inside) else 0
    if fixed:
        some = some_rows(source, REDRAWN, seed)
        more |= noise_errors(flow, some, n, seed + 1, units.nats)
    if draws > 1 and unit.bits and not flow.estimated:
        more["importance"] = units.mean(importance, scores)[0]
    if not mass.isnan().any():
        means = units.mean(mass, scores)
        more |= dict(zip(("discretized", "discretized_two_se"), means, strict=True))
    if baseline is not None:
        gain, gain_two_se = units.gain(inside[:, 0], inside[:, 2], inside)
        more |= {"gain": gain, "gain_two_se": gain_two_se, "note": baseline.note}
        more["baseline"] = units.mean(beside, scores)[0]
        if not unit.bits:
            more["baseline_inside"] = units.mean(inside[:, 2], inside)[0]
    if unit.bits:
        more |= {"bits": getattr(schema, "bits", None), "elements": units.elements}
    elif schema.countable is not None:
        more["bits_per_column"] = bits_per_dim(score, schema.countable)
    whole = -math.inf * units.sign if outside else score
    if not fixed:
        more |= _of_sound(whole, int(scores[:, 4].sum()), schema)
    return Evaluation(
        **{
            "score": whole,
            "score_inside": score,
            "two_se": two_se,
            "unit": unit,
            "kind": kind_of(flow),
            "rows": len(scores),
            "rows_outside": outside,
            "split": split,
            "seed": seed,
            "draws": draws,
            "log_prob": units.mean_of_items(ours, scores)[0],
            "log_prob_two_se": units.mean_of_items(inside[:, 0], inside)[1],
            "one": one,
            "many": many,
            "baseline_name": baseline_type(schema.kind).name,
            "note": f"not known, as the run's training {many} are not",
            **more,
        }
    )


def _of_sound(score: float, samples: int, schema: Any) -> dict[str, Any]:
    """What is known of clips alone; `score` is in bits a sample."""
    nats = score * -math.log(2)
    return {
        "rate": schema.rate,
        "samples": samples,
        "duration": samples / schema.rate,
        "uniform": float(schema.bits),
        "nats_per_sample": nats,
        "density_nats_per_sample": nats + (schema.bits - 1) * math.log(2),
    }


def kind_of(flow: Flow) -> str:
    """The kind of a flow's scores, with the noise that fills the steps between pixel values."""
    if not isinstance(flow.dequantization, PixelDequantization):
        return flow.kind
    variational = isinstance(flow.dequantization, VariationalDequantization)
    how = f"{'variational' if variational else 'uniform'} dequantisation"
    if noise := getattr(flow.dequantization, "noise_std", 0.0):
        how += f", of a flow that has learned images with noise of {noise:g} steps"
    return f"{flow.kind} ({how})"
