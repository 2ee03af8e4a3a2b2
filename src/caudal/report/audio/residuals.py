"""The noise that a flow makes of sounds, compared with the base."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from caudal.base import Independent
from caudal.data import AudioSchema
from caudal.data.audio import Clips
from caudal.flow import Flow
from caudal.report.audio.copies import beginning
from caudal.report.items import batch_of, noise, place
from caudal.report.style import DATA, QUIET, SAMPLES, WIDTH, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LAGS = 64
DOTS = 400  # of the quantile plot
_BASE: Any = {"color": SAMPLES, "linewidth": 1.4, "label": "base"}


@torch.no_grad()
def find_noise(
    flow: Flow, clips: Clips, indices: Sequence[int], schema: AudioSchema, seed: int = 0
) -> list[Tensor]:
    """The noise z (T,) of the beginning of each clip, float64."""
    flow.eval()
    generator = noise(flow, seed)
    noises = []
    for index in indices:
        x, context = place(flow, batch_of(beginning(clips.clip(index), schema)))
        noises.append(flow.encode(x, context, generator).flatten().double().cpu())
    return noises


def draw_noise(noises: Sequence[Tensor], base: Independent) -> "Figure":
    """Histogram, quantiles and autocorrelation of finite noise, beside those of the base."""
    figure = new_figure(WIDTH, 2.9)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1, 1, 1.2))
    z = torch.cat([*noises])
    _histogram(left, z, base)
    _quantiles(middle, z, base)
    _correlation(right, noises)
    return figure


def _histogram(axes: "Axes", z: Tensor, base: Independent) -> None:
    end = float(torch.quantile(z.abs()[:: 1 + len(z) // 100_000], 0.999)) * 1.15
    usual = normal_range(base)
    end = min(max(end, usual), 2 * usual)
    bins: Any = {"bins": 80, "range": (-end, end), "density": True}
    axes.hist(z.numpy(), **bins, color=DATA, alpha=0.55, label="z")
    at = torch.linspace(-end, end, 400, dtype=torch.float64)
    axes.plot(at.numpy(), base.log_density(at).exp().numpy(), **_BASE)
    axes.set_xlabel("noise z")
    axes.set_ylabel("density")
    axes.set_ylim(0, 1.3 * axes.get_ylim()[1])
    axes.legend(loc="upper right")


def _quantiles(axes: "Axes", z: Tensor, base: Independent) -> None:
    """Draws normal scores of z by the base's distribution against those of its rank."""
    p = (torch.arange(len(z), dtype=torch.float64) + 0.5) / len(z)
    rank, score = torch.special.ndtri(p), normal_scores(z.sort().values, base)
    # The dots are even in scores, not in ranks, to show the tails.
    wanted = torch.linspace(float(rank[0]), float(rank[-1]), DOTS, dtype=torch.float64)
    some = torch.searchsorted(rank, wanted).clamp(max=len(z) - 1).unique()
    end = 1.05 * float(rank[-1])
    axes.plot([-end, end], [-end, end], color=SAMPLES, linewidth=1.2)
    axes.plot(rank[some].numpy(), score[some].numpy(), ".", color=DATA, markersize=3)
    axes.set_xlim(-end, end)
    axes.set_ylim(-1.6 * end, 1.6 * end)
    axes.set_xlabel("expected score")
    axes.set_ylabel("score of z")


def normal_range(base: Independent) -> float:
    """The distance from 0 within which nearly 99.9 % of the base's elements are."""
    at = torch.linspace(0, 50, 5001, dtype=torch.float64)
    return float(at[torch.searchsorted(base.log_cdf(at).exp(), 0.9995).clamp(max=5000)])


def normal_scores(z: Tensor, base: Independent) -> Tensor:
    """Normal quantiles at the base's cumulative probabilities of z, within +-37."""
    # Each tail is computed from its own side, as 1 - p would lose the upper one.
    below, above = base.log_cdf(z), base.log_cdf(-z)  # bases are symmetric
    tail = torch.minimum(below, above).exp().clamp(min=1e-300)
    score = torch.special.ndtri(tail)
    return torch.where(below < above, score, -score)


def _correlation(axes: "Axes", noises: Sequence[Tensor]) -> None:
    correlation = autocorrelation(noises, LAGS)
    band = 2 / math.sqrt(sum(len(z) for z in noises))
    axes.axhspan(-band, band, color=QUIET, alpha=0.25, linewidth=0)
    axes.vlines(np.arange(1, LAGS + 1), 0, correlation.numpy(), color=DATA, linewidth=1.6)
    axes.axhline(0, color=QUIET, linewidth=0.8)
    most = max(4 * band, 1.15 * float(correlation.abs().max()))
    axes.set_ylim(-most, most)
    axes.set_xlim(0, LAGS + 1)
    axes.set_xlabel("lag (samples)")
    axes.set_ylabel("autocorrelation of z")


def autocorrelation(noises: Sequence[Tensor], lags: int) -> Tensor:
    """Correlation (lags,) of z with itself 1 .. lags samples later, over all clips."""
    mean = torch.cat([*noises]).mean()
    centred = [z - mean for z in noises]
    power = sum(float(z.square().sum()) for z in centred)
    sums = [sum(float(z[:-k] @ z[k:]) for z in centred if len(z) > k) for k in range(1, lags + 1)]
    return torch.tensor(sums, dtype=torch.float64) / max(power, 1e-300)
