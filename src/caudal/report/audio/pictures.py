"""Pictures of sounds: waveforms, spectrograms, average spectra, and the noise behind them."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from caudal.base import Independent
from caudal.data import AudioSchema
from caudal.data.audio import Clips
from caudal.flow import Flow
from caudal.report import page
from caudal.report.audio.copies import Copy, beginning, encode
from caudal.report.audio.measures import (
    average_spectrum,
    decibels,
    level,
    magnitudes,
    power_db,
    sizes,
)
from caudal.report.items import batch_of, noise, place
from caudal.report.style import DATA, QUIET, SAMPLES, WIDTH, new_figure, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RANGE = 75.0  # dB that are shown
LOUD = 0.998  # share of the originals' values that are below the top of the scale
COLUMNS = 500  # columns of a spectrogram, more than the picture has dots
MAP = "magma"
AVERAGED = 90.0  # dB from the top that the frame of average spectra holds
TEACHER = "#5a8a52"  # neither the data's colour nor that of samples


class Sound(NamedTuple):
    """A sound (T,) in amplitudes, its name, and the colour of its line."""

    title: str
    wave: Tensor
    colour: str


def sounds_of(copy: Copy, teacher: Copy | None = None) -> list[Sound]:
    """Original, the teacher's if there is one, and the flow's, from left to right."""
    original = Sound("original", copy.original, DATA)
    if teacher is None:
        return [original, Sound("sample", copy.sample, SAMPLES)]
    teachers = Sound("teacher", teacher.sample, TEACHER)
    return [original, teachers, Sound("student", copy.sample, SAMPLES)]


def floors_of(copies: Mapping[str, Copy]) -> list[Sound]:
    """What each floor makes of a clip's spectrum, from left to right."""
    return [Sound(name, copy.sample, QUIET) for name, copy in copies.items()]


def caption_of(copy: Copy) -> str:
    """The clip's name and its labels."""
    return f"{shorten(copy.name, 24)}, {copy.label}" if copy.label else shorten(copy.name, 44)


def player_of(sound: Sound, rate: int) -> page.Sound:
    """A sound to play in a page, losslessly packed."""
    flac = encode(sound.wave, rate, "FLAC")
    return page.Sound(sound.title, sound.colour, len(sound.wave) / rate, flac)


def top_of(waves: Iterable[Tensor], rate: int) -> float:
    """The top of the dB scale on which all of these sounds (T,) can be seen."""
    return max(float(np.quantile(_spectrogram(wave, rate), LOUD)) for wave in waves)


def draw_spectrograms(
    rows: Sequence[Sequence[Sound]], names: Sequence[str], rate: int, top: float
) -> "Figure":
    """Waveforms over spectrograms, the sounds of a row side by side, all on one dB scale."""
    across = len(rows[0])
    figure = new_figure(WIDTH, 1.95 * len(rows) + 0.25)
    heights = [1.0] * (len(rows) - 1) + [1.12]  # the last has the axis label under it
    parts: Any = figure.subfigures(len(rows), 1, squeeze=False, height_ratios=heights)[:, 0]
    for i, (part, row, name) in enumerate(zip(parts, rows, names, strict=True)):
        shape: Any = {"sharex": True, "sharey": "row", "squeeze": False}
        axes = part.subplots(2, across, gridspec_kw={"height_ratios": (1, 2.8)}, **shape)
        peak = max(float(sound.wave.abs().max()) for sound in row)
        for j, sound in enumerate(row):
            shown = _draw(axes[:, j], sound, rate, top)
            axes[0, j].set_title(sound.title, color=sound.colour, loc="left")
            if i == len(rows) - 1:
                axes[1, j].set_xlabel("seconds")
        _name_amplitudes(axes[0, 0], peak)
        axes[0, 0].set_title(name, color=QUIET, loc="right", fontsize=8)
        axes[1, 0].set_ylabel("kHz")
        bar = part.colorbar(shown, ax=axes[1, :], pad=0.01, aspect=12)
        bar.set_label("dB")
        bar.outline.set_visible(False)
    return figure


def _name_amplitudes(axes: "Axes", peak: float) -> None:
    """Puts ticks at 0 and, with one digit, near the peak of the row."""
    peak = max(peak, 1e-4)
    size = 10.0 ** np.floor(np.log10(peak))
    near = np.floor(peak / size) * size
    axes.set_ylim(-1.1 * peak, 1.1 * peak)
    axes.set_yticks([0.0, near], ["0", f"{near:.5g}"])


def _draw(axes: "Sequence[Axes]", sound: Sound, rate: int, top: float) -> Any:
    """Draws a waveform and the spectrogram under it; returns the latter for its scale."""
    seconds = len(sound.wave) / rate
    low, high = _envelope(sound.wave.numpy())
    at = np.linspace(0, seconds, len(low))
    axes[0].fill_between(at, low, high, color=sound.colour, linewidth=0.4)
    axes[0].tick_params(bottom=False)
    axes[0].spines["bottom"].set_visible(False)
    shown = axes[1].imshow(
        _spectrogram(sound.wave, rate),
        origin="lower",
        aspect="auto",
        cmap=MAP,
        vmin=top - RANGE,
        vmax=top,
        extent=(0, seconds, 0, rate / 2000),
    )
    axes[1].locator_params(axis="y", nbins=4)
    return shown


def _envelope(wave: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest of the samples in each column of dots."""
    size = -(-len(wave) // COLUMNS)
    whole = np.pad(wave, (0, -len(wave) % size), mode="edge").reshape(-1, size)
    return whole.min(1), whole.max(1)


def _spectrogram(wave: Tensor, rate: int) -> np.ndarray:
    """Spectrogram (F, frames) of a sound (T,) in dB."""
    size = sizes(rate)[1]
    hop = max(size // 8, len(wave) // COLUMNS, 1)
    return np.asarray(decibels(magnitudes(wave[None].double(), size, hop))[0])


# --- average spectra -----------------------------------------------------------------------------


class Side(NamedTuple):
    """Sounds (T,) in amplitudes that are averaged, their name, and the colour of their line."""

    name: str
    waves: Sequence[Tensor]
    colour: str


def draw_averages(sides: Sequence[Side], rate: int) -> "Figure":
    """The average spectrum of each side in dB, and its loudness in words."""
    figure = new_figure(WIDTH, 3.2)
    axes = figure.subplots()
    lines = [spectrum_db(side.waves, rate) for side in sides]
    for side, line in zip(sides, lines, strict=True):
        at = np.linspace(0, rate / 2000, len(line))
        words = f"{side.name}, RMS {loudness(side.waves):.1f} dB".replace("-", "−")
        axes.plot(at, line, color=side.colour, linewidth=1.4, label=words)
    top = max(float(line.max()) for line in lines)
    low = min(float(line.min()) for line in lines)
    axes.set_ylim(max(low, top - AVERAGED) - 3, top + 5)
    axes.set_xlim(0, rate / 2000)
    axes.axvline(rate / 4000, color=QUIET, linewidth=0.8, linestyle=(0, (2, 4)))
    axes.set_xlabel("kHz")
    axes.set_ylabel("mean power (dB)")
    axes.legend(loc="upper right")
    return figure


def spectrum_db(waves: Sequence[Tensor], rate: int) -> np.ndarray:
    """Mean power of all sounds at each frequency, in dB: (F,)."""
    power = torch.stack([average_spectrum(wave[None], rate)[0] for wave in waves]).mean(0)
    return np.asarray(power_db(power))


def loudness(waves: Sequence[Tensor]) -> float:
    """Root mean square of all sounds together in dB."""
    return float(level(torch.cat([*waves])[None]))


# --- the noise -----------------------------------------------------------------------------------

LAGS = 64
DOTS = 400  # dots of the quantile plot
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
