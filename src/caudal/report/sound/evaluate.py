"""How well a flow explains clips it has not heard, in bits a sample, beside an autoregression."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from caudal.data.audio.clips import Clip, Clips
from caudal.data.audio.schema import AudioSchema
from caudal.data.source import Batch, permutation
from caudal.errors import InputError, NumericalError
from caudal.flow import Flow
from caudal.report.evaluate import log_prob_rows
from caudal.report.gaussian import noise, place
from caudal.report.sound.autoregression import Autoregression
from caudal.report.sound.evaluation import AudioEvaluation

Track = Callable[[Iterable[int], str, float | None], Iterable[int]]
"""Shows how far one is while going through clips: (their indices, what, how many there are)."""
Discretized = Callable[[Flow, Tensor, Tensor | None], Tensor | None]
"""The log-mass (B,) in nats of whole numbers x (B, 1, T) given context; None where unknown."""


@torch.no_grad()
def evaluate_audio(
    flow: Flow,
    clips: Clips,
    baseline: Autoregression | None,
    schema: AudioSchema,
    *,
    split: str = "test",
    limit: int | None = None,
    seed: int = 0,
    discretized: Discretized | None = None,
    track: Track | None = None,
) -> AudioEvaluation:
    """Scores whole clips with the flow and the baseline, one at a time, one pass each.

    Args:
        flow: put into eval mode.
        clips: to score.
        baseline: fitted to the training clips; None where it is not known.
        schema: what the clips are.
        split: what to call them.
        limit: how many to take at most, from all over the clips, always the same ones.
        seed: of the dequantisation noise.
        discretized: gives the mass of each step whole, without noise, where there is one.
        track: shows how far it is.

    Raises:
        NumericalError: a log-probability is NaN, or infinite upwards.
        InputError: there are no clips.
    """
    flow.eval()
    indices = some_clips(clips, limit)
    if not indices:
        raise InputError(f"no {split} clips to evaluate")
    # The baseline's noise is its own: its bits are the same beside whatever flow.
    generator, own = noise(flow, seed), torch.Generator().manual_seed(seed)
    scores, lengths = [], []
    for index in track(indices, "evaluating", len(indices)) if track else indices:
        clip = clips.clip(index)
        batch = place(flow, batch_of(clip))
        drawn = float(log_prob_rows(flow, batch, generator))
        beside = math.nan if baseline is None else float(baseline.log_prob(clip.x, own))
        scores.append((drawn, beside, _mass(discretized, flow, batch)))
        lengths.append(clip.x.shape[-1])
    nats = torch.tensor(scores, dtype=torch.float64)
    samples = torch.tensor(lengths, dtype=torch.float64)
    return replace(
        summary(nats, samples, schema, baseline), kind=flow.kind, split=split, seed=seed
    )


def _mass(discretized: Discretized | None, flow: Flow, batch: Batch) -> float:
    """The log-mass of a clip without noise, NaN where there is none."""
    mass = None if discretized is None else discretized(flow, batch.x, batch.context)
    if mass is None:
        return math.nan
    if mass.isnan().any():
        raise NumericalError("a clip's log-mass is not a number: the model is damaged, retrain")
    return float(mass)


def some_clips(clips: Clips, limit: int | None) -> list[int]:
    """So many indices from all over the clips, always the same, in order; all without a limit."""
    n = len(clips.names)
    if limit is None or limit >= n:
        return list(range(n))
    return sorted(permutation(n, 0)[:limit].tolist())


def batch_of(clip: Clip) -> Batch:
    """A clip as a batch of one."""
    return Batch(clip.x[None], None if clip.context is None else clip.context[None])


def summary(
    nats: Tensor, samples: Tensor, schema: AudioSchema, baseline: Autoregression | None = None
) -> AudioEvaluation:
    """What the log-masses (N, 3) of clips come to: the flow's, the baseline's, discretized."""
    inside = nats[:, 0] > -torch.inf
    per_bit, n = -math.log(2), samples[inside]
    bits, two_se = ratio_two_se(nats[inside, 0] / per_bit, n)
    whole, outside = float(samples.sum()), int((~inside).sum())
    mean = math.inf if outside else bits
    result = AudioEvaluation(
        bits_per_sample=mean,
        two_se=two_se,
        log_prob=float(nats[:, 0].mean()),
        nats_per_sample=mean * per_bit,
        density_nats_per_sample=mean * per_bit + (schema.bits - 1) * math.log(2),
        rows=len(nats),
        rows_outside=outside,
        bits_per_sample_inside=bits,
        samples=int(whole),
        duration=whole / schema.rate,
        rate=schema.rate,
        bits=schema.bits,
        uniform_bits_per_sample=float(schema.bits),
    )
    result = replace(result, **_discretized(nats[:, 2] / per_bit, samples))
    return result if baseline is None else _beside(result, nats / per_bit, samples, baseline)


def _beside(
    result: AudioEvaluation, bits: Tensor, samples: Tensor, baseline: Autoregression
) -> AudioEvaluation:
    inside = bits[:, 0] < torch.inf
    gain, gain_two_se = ratio_two_se(bits[inside, 1] - bits[inside, 0], samples[inside])
    return replace(
        result,
        gaussian_bits_per_sample=float(bits[:, 1].sum() / samples.sum()),
        gain=gain,
        gain_two_se=gain_two_se,
        gaussian=baseline.note,
    )


def _discretized(bits: Tensor, samples: Tensor) -> dict[str, Any]:
    if bits.isnan().any():
        return {}
    mean, two_se = ratio_two_se(bits, samples)
    return {"discretized_bits_per_sample": mean, "discretized_two_se": two_se}


def ratio_two_se(totals: Tensor, samples: Tensor) -> tuple[float, float]:
    """Mean a sample of totals (N,) of clips of so many samples (N,), two standard errors of it.

    r = sum of totals / sum of samples. Its error is by clips, from their residuals against it:
    se^2 = N / (N - 1) sum (total - r samples)^2 / (sum of samples)^2. NaN where clips are too few.
    Reference: Cochran, Sampling techniques, 1977, chapter 6.
    """
    n = len(totals)
    if n == 0:
        return math.nan, math.nan
    whole = samples.sum()
    mean = totals.sum() / whole
    if n < 2 or not mean.isfinite():
        return float(mean), math.nan
    squares = (totals - mean * samples).square().sum()
    return float(mean), 2 * float((squares * n / (n - 1)).sqrt() / whole)
