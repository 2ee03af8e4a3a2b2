"""How well a flow explains images it has not seen, in bits/dim, beside a Gaussian."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor

from caudal.data.images import ImageSchema
from caudal.data.source import Batch, Rows
from caudal.dequantization import VariationalDequantization
from caudal.flow import Flow
from caudal.losses import bits_per_dim
from caudal.report.estimates import REDRAWN, REDRAWS, estimate_errors, root_mean_variance
from caudal.report.evaluate import log_prob_rows, mean_two_se, some_rows
from caudal.report.gaussian import noise, place
from caudal.report.pixels.draw import some_images
from caudal.report.pixels.evaluation import ImageEvaluation
from caudal.report.pixels.gaussian import PixelGaussian, batch_rows

Track = Callable[[Iterable[Batch], str, float | None], Iterable[Batch]]
"""Shows how far one is while going through batches: (batches, what, how many there are)."""


@torch.no_grad()
def evaluate_images(
    flow: Flow,
    rows: Rows,
    gaussian: PixelGaussian | None,
    schema: ImageSchema,
    *,
    split: str = "test",
    limit: int | None = None,
    seed: int = 0,
    draws: int = 1,
    track: Track | None = None,
) -> ImageEvaluation:
    """Scores images with the flow and the Gaussian, as they are: not flipped, not cropped.

    Args:
        flow: put into eval mode.
        rows: the images.
        gaussian: the baseline, fitted to the training images; None where it is not known.
        schema: what the images are.
        split: what to call them.
        limit: how many to take at most, from all over the rows, always the same ones.
        seed: of the dequantisation noise, and of estimates.
        draws: of that noise for each image.
        track: shows how far it is.

    Raises:
        NumericalError: a log-probability is NaN, or infinite upwards.
    """
    flow.eval()
    n = len(rows) if limit is None else min(limit, len(rows))
    batches: Iterable[Batch] = some_rows(rows, limit, batch_rows(schema))
    if track is not None:
        batches = track(batches, "evaluating", math.ceil(n / batch_rows(schema)))
    scores = _scores(flow, batches, gaussian, draws, seed)
    std = noise_std(flow, rows, schema, seed)
    some = some_images(rows, REDRAWN, seed).ordered(batch_rows(schema))
    result = replace(
        _summary(scores, schema, draws, weighted=draws > 1 and not flow.estimated),
        kind=_kind(flow),
        split=split,
        seed=seed,
        noise_std=std,
        noise_two_se=2 * std / math.sqrt(n * draws),
        **estimate_errors(flow, some, n * draws, seed + 1, nats_of_a_bit(schema)),
    )
    return result if gaussian is None else _beside(result, scores, gaussian)


def _scores(
    flow: Flow, batches: Iterable[Batch], gaussian: PixelGaussian | None, draws: int, seed: int
) -> Tensor:
    """Of each image the flow's bound, its importance bound, and the Gaussian's (N, 3)."""
    # The Gaussian's noise is its own: its bits/dim are the same beside whatever flow.
    generator, own = noise(flow, seed), torch.Generator().manual_seed(seed)
    scores = []
    for batch in batches:
        placed = place(flow, batch)
        drawn = log_probs(flow, placed, draws, generator)
        beside = gaussian.log_prob(placed.x, own).cpu() if gaussian else drawn[0]
        importance = drawn.logsumexp(0) - math.log(draws)
        scores.append(torch.stack([drawn.mean(0), importance, beside], 1))
    return torch.cat(scores)


def log_probs(flow: Flow, batch: Batch, draws: int, generator: torch.Generator) -> Tensor:
    """Log-probability of each image for each of so many draws: (draws, B) float64."""
    return torch.stack([log_prob_rows(flow, batch, generator).cpu() for _ in range(draws)])


@torch.no_grad()
def noise_std(flow: Flow, rows: Rows, schema: ImageSchema, seed: int = 0) -> float:
    """Standard deviation of one image's bits/dim over draws of the noise, and of estimates.

    The root of the mean variance of some images over a few redraws each, which few draws do not
    bias; NaN if no image is inside.
    """
    some = some_images(rows, REDRAWN, seed)
    generator = noise(flow, seed + 1)
    drawn = torch.cat(
        [
            log_probs(flow, place(flow, batch), REDRAWS, generator)
            for batch in some.ordered(batch_rows(schema))
        ],
        1,
    )
    return root_mean_variance(drawn) / nats_of_a_bit(schema)


def nats_of_a_bit(schema: ImageSchema) -> float:
    """How many nats of an image make 1 bit/dim."""
    return schema.countable * math.log(2)


def _kind(flow: Flow) -> str:
    if flow.dequantization is None:
        return flow.kind
    variational = isinstance(flow.dequantization, VariationalDequantization)
    return f"{flow.kind} ({'variational' if variational else 'uniform'} dequantisation)"


def _summary(scores: Tensor, schema: ImageSchema, draws: int, weighted: bool) -> ImageEvaluation:
    """What the scores (N, 3) of the flow come to, also weighted by importance if that is so."""
    inside, elements = _inside(scores), schema.countable
    mean, two_se = mean_two_se(inside[:, 0])
    log_prob = -math.inf if len(inside) < len(scores) else mean
    importance = bits_per_dim(float(scores[:, 1].mean()), elements) if weighted else None
    return ImageEvaluation(
        bits_per_dim=bits_per_dim(log_prob, elements),
        two_se=two_se / nats_of_a_bit(schema),
        log_prob=log_prob,
        log_prob_two_se=two_se,
        bits_per_dim_importance=importance,
        bits_per_dim_inside=bits_per_dim(mean, elements),
        rows=len(scores),
        rows_outside=len(scores) - len(inside),
        draws=draws,
        elements=elements,
        bits=schema.bits,
    )


def _beside(result: ImageEvaluation, scores: Tensor, gaussian: PixelGaussian) -> ImageEvaluation:
    nats = result.elements * math.log(2)
    inside = _inside(scores)
    gain, gain_two_se = mean_two_se((inside[:, 0] - inside[:, 2]) / nats)
    return replace(
        result,
        gaussian_bits_per_dim=-float(scores[:, 2].mean()) / nats,
        gain=gain,
        gain_two_se=gain_two_se,
        gaussian=gaussian.note,
    )


def _inside(scores: Tensor) -> Tensor:
    return scores[scores[:, 0] > -torch.inf]
