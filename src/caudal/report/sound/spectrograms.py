"""Sounds to look at: waveforms, and spectrograms on one scale."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch import Tensor

from caudal.report.sound.copies import Copy
from caudal.report.sound.spectra import decibels, magnitudes, sizes
from caudal.report.style import DATA, QUIET, SAMPLES, WIDTH, new_figure, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RANGE = 75.0  # dB that are shown
LOUD = 0.998  # of the originals' values that are below the top of the scale
COLUMNS = 500  # of a spectrogram: more than the picture has dots
MAP = "magma"


class Sound(NamedTuple):
    """A sound (T,) in amplitudes, what it is in words, and the colour of its line."""

    title: str
    wave: Tensor
    colour: str


def both(copy: Copy) -> list[Sound]:
    """Original and sample, from left to right."""
    return [Sound("original", copy.original, DATA), Sound("sample", copy.sample, SAMPLES)]


def caption_of(copy: Copy) -> str:
    """The clip's name and its labels."""
    return f"{shorten(copy.name, 24)}, {copy.label}" if copy.label else shorten(copy.name, 44)


def top_of(waves: Iterable[Tensor], rate: int) -> float:
    """The top of the dB scale on which all of these sounds (T,) can be seen."""
    return max(float(np.quantile(_spectrogram(wave, rate), LOUD)) for wave in waves)


def draw_spectrograms(
    rows: Sequence[Sequence[Sound]], names: Sequence[str], rate: int, top: float
) -> "Figure":
    """Waveforms over spectrograms: the sounds of each row side by side, all on one dB scale."""
    across = len(rows[0])
    figure = new_figure(WIDTH, 1.95 * len(rows) + 0.25)
    heights = [1.0] * (len(rows) - 1) + [1.12]  # the last has the name of the axis under it
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
    """Ticks at 0 and, one digit long, near the peak of the row."""
    peak = max(peak, 1e-4)
    size = 10.0 ** np.floor(np.log10(peak))
    near = np.floor(peak / size) * size
    axes.set_ylim(-1.1 * peak, 1.1 * peak)
    axes.set_yticks([0.0, near], ["0", f"{near:.5g}"])


def _draw(axes: "Sequence[Axes]", sound: Sound, rate: int, top: float) -> Any:
    """A waveform and the spectrogram under it; gives the latter, for its scale."""
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
    """The lowest and highest of so many samples at a time as are one dot."""
    size = -(-len(wave) // COLUMNS)
    whole = np.pad(wave, (0, -len(wave) % size), mode="edge").reshape(-1, size)
    return whole.min(1), whole.max(1)


def _spectrogram(wave: Tensor, rate: int) -> np.ndarray:
    """DB of a sound (T,) at each frequency and time, (F, frames)."""
    size = sizes(rate)[1]
    hop = max(size // 8, len(wave) // COLUMNS, 1)
    found: np.ndarray = decibels(magnitudes(wave[None].double(), size, hop))[0].numpy()
    return found
