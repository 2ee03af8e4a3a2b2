"""How well a flow explains images it has not seen, in bits/dim, beside a Gaussian."""

import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from caudal.data.images import ImageSchema
from caudal.data.source import Batch, Rows, permutation
from caudal.dequantization import VariationalDequantization
from caudal.flow import Flow
from caudal.losses import bits_per_dim
from caudal.report.evaluate import log_prob_rows, mean_two_se, plain, some_rows
from caudal.report.gaussian import noise, place
from caudal.report.pixels.gaussian import PixelGaussian, batch_rows

Track = Callable[[Iterable[Batch], str, float | None], Iterable[Batch]]
"""Shows how far one is while going through batches: (batches, what, how many there are)."""
REDRAWN, REDRAWS = 256, 4


@dataclass(frozen=True)
class ImageEvaluation:
    """How many bits a pixel's channel takes, on average over images: fewer is better.

    An image scores -inf where one of its values is none that the flow knows, or it is too far
    from the data for the flow's floating point. Then the mean over all images is infinite;
    `bits_per_dim_inside` and what follows from it are of the other images.

    Attributes:
        bits_per_dim: mean over all images; an upper bound, as log_prob is a lower one.
        two_se: two standard errors of it over images, of those inside.
        log_prob: mean log-probability of an image, nats: a mass of whole numbers, no density.
        log_prob_two_se: two standard errors of it.
        kind: which bound it is, by the noise that fills the steps between pixel values.
        noise_std: standard deviation of one image's bits/dim over draws of that noise (4 redraws
            of up to 256 images, their variances averaged).
        noise_two_se: two standard errors that the noise alone causes in bits_per_dim.
        draws: of noise for each image; bits_per_dim is of the mean log-probability over them.
        bits_per_dim_importance: with several draws, of the log of their mean probability: a
            tighter bound, of importance sampling; not to be compared with others' bits_per_dim.
        rows: how many images there were.
        rows_outside: how many of them score -inf.
        bits_per_dim_inside: mean over the others, NaN if there are none.
        split: which they were: train, valid, test, or a file.
        seed: of the noise.
        elements: of an image, by which nats are divided.
        bits: of each element: 8 are not comparable with fewer.
        gaussian_bits_per_dim: the same images under the Gaussian.
        gain: bits/dim by which the flow is below the Gaussian, over the images inside.
        gain_two_se: two standard errors of that, from the images' own differences.
        gaussian: what the Gaussian is, in words.
        unit: always "bits/dim".
    """

    bits_per_dim: float
    two_se: float
    log_prob: float
    log_prob_two_se: float
    kind: str
    noise_std: float
    noise_two_se: float
    draws: int
    bits_per_dim_importance: float | None
    rows: int
    rows_outside: int
    bits_per_dim_inside: float
    split: str
    seed: int
    elements: int
    bits: int
    gaussian_bits_per_dim: float | None = None
    gain: float | None = None
    gain_two_se: float | None = None
    gaussian: str = "not known, as the run's training images are not"
    unit: str = "bits/dim"

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which knows neither infinity nor NaN: both are null."""
        return {k: plain(v) for k, v in asdict(self).items() if v is not None}


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
        seed: of the dequantisation noise.
        draws: of that noise for each image.
        track: shows how far it is.

    Raises:
        NumericalError: a log-probability is NaN, or infinite upwards.
    """
    flow.eval()
    size = batch_rows(schema)
    generator, own = noise(flow, seed), torch.Generator().manual_seed(seed)
    batches: Iterable[Batch] = some_rows(rows, limit, size)
    if track is not None:
        batches = track(
            batches, "evaluating", math.ceil(min(limit or len(rows), len(rows)) / size)
        )
    scores = []
    for batch in batches:
        placed = place(flow, batch)
        drawn = log_probs(flow, placed, draws, generator)
        beside = gaussian.log_prob(placed.x, own).cpu() if gaussian else drawn[0]
        importance = drawn.logsumexp(0) - math.log(draws)
        scores.append(torch.stack([drawn.mean(0), importance, beside], 1))
    result = _summary(torch.cat(scores), schema, split, seed, draws, _kind(flow))
    std = noise_std(flow, rows, schema, seed)
    result = replace(
        result, noise_std=std, noise_two_se=2 * std / math.sqrt(result.rows * result.draws)
    )
    return result if gaussian is None else _beside(result, torch.cat(scores), gaussian)


def log_probs(flow: Flow, batch: Batch, draws: int, generator: torch.Generator) -> Tensor:
    """Log-probability of each image for each of so many draws of noise: (draws, B) float64."""
    return torch.stack([log_prob_rows(flow, batch, generator).cpu() for _ in range(draws)])


@torch.no_grad()
def noise_std(flow: Flow, rows: Rows, schema: ImageSchema, seed: int = 0) -> float:
    """Standard deviation of one image's bits/dim over draws of the dequantisation noise.

    The root of the mean variance of some images over a few redraws each, which few draws do not
    bias; NaN if no image is inside.
    """
    chosen = permutation(len(rows), seed)[:REDRAWN]
    some = Rows(rows.x[chosen], None if rows.context is None else rows.context[chosen])
    generator = noise(flow, seed + 1)
    drawn = torch.cat(
        [
            log_probs(flow, place(flow, batch), REDRAWS, generator)
            for batch in some.ordered(batch_rows(schema))
        ],
        1,
    )
    drawn = drawn[:, drawn.isfinite().all(0)]
    return float(drawn.var(0).mean().sqrt()) / nats_of_a_bit(schema)


def nats_of_a_bit(schema: ImageSchema) -> float:
    """How many nats of an image make 1 bit/dim."""
    return schema.countable * math.log(2)


def _kind(flow: Flow) -> str:
    if flow.dequantization is None:
        return flow.kind
    variational = isinstance(flow.dequantization, VariationalDequantization)
    return f"{flow.kind} ({'variational' if variational else 'uniform'} dequantisation)"


def _summary(
    scores: Tensor, schema: ImageSchema, split: str, seed: int, draws: int, kind: str
) -> ImageEvaluation:
    """What the scores (N, 3), of the flow, its importance bound and the Gaussian, come to."""
    inside, elements = _inside(scores), schema.countable
    mean, two_se = mean_two_se(inside[:, 0])
    log_prob = -math.inf if len(inside) < len(scores) else mean
    importance = None if draws == 1 else bits_per_dim(float(scores[:, 1].mean()), elements)
    return ImageEvaluation(
        bits_per_dim=bits_per_dim(log_prob, elements),
        two_se=two_se / nats_of_a_bit(schema),
        log_prob=log_prob,
        log_prob_two_se=two_se,
        kind=kind,
        noise_std=math.nan,
        noise_two_se=math.nan,
        draws=draws,
        bits_per_dim_importance=importance,
        rows=len(scores),
        rows_outside=len(scores) - len(inside),
        bits_per_dim_inside=bits_per_dim(mean, elements),
        split=split,
        seed=seed,
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
