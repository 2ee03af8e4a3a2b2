"""Sounds to look at: waveforms, and spectrograms on one scale."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch import Tensor

from caudal.report.sound.copies import Copy
from caudal.report.sound.spectra import decibels, magnitudes, sizes
from caudal.report.style import DATA, SAMPLES, WIDTH, new_figure, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RANGE = 70.0  # dB below the loudest original that are shown
COLUMNS = 500  # of a spectrogram: more than the picture has dots
MAP = "magma"


class Sound(NamedTuple):
    """A sound (T,) in amplitudes, what it is in words, and the colour of its line."""

    title: str
    wave: Tensor
    colour: str


def draw_copies_of(copies: Sequence[Copy], rate: int) -> "Figure":
    """Originals on the left, the flow's own samples on the right, a clip in each row."""
    rows = [
        [Sound("original", c.original, DATA), Sound("sample", c.sample, SAMPLES)] for c in copies
    ]
    return draw_spectrograms(rows, [caption_of(c) for c in copies], rate)


def caption_of(copy: Copy) -> str:
    """The clip's name and its labels."""
    return f"{shorten(copy.name, 40)}, {copy.label}" if copy.label else shorten(copy.name, 60)


def draw_spectrograms(
    rows: Sequence[Sequence[Sound]], names: Sequence[str], rate: int
) -> "Figure":
    """Waveforms over spectrograms: the sounds of each row side by side, all on one dB scale.

    The scale's top is the loudest of the first column, the originals.
    """
    across = len(rows[0])
    top = float(max(_spectrogram(row[0].wave, rate).max() for row in rows))
    figure = new_figure(WIDTH, 1.75 * len(rows) + 0.55)
    parts: Any = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    for i, (part, row, name) in enumerate(zip(parts, rows, names, strict=True)):
        part.suptitle(name, x=0.0, ha="left", fontsize=9)
        heights = {"height_ratios": (1, 2.6)}
        axes = part.subplots(2, across, sharex=True, sharey="row", squeeze=False, **_grid(heights))
        for j, sound in enumerate(row):
            shown = _draw(axes[:, j], sound, rate, top)
            axes[0, j].set_title(sound.title, color=sound.colour, loc="left")
            if i == len(rows) - 1:
                axes[1, j].set_xlabel("seconds")
        axes[1, 0].set_ylabel("kHz")
        bar = part.colorbar(shown, ax=axes[1, :], pad=0.01, aspect=12)
        bar.set_label("dB")
        bar.outline.set_visible(False)
    return figure


def _grid(options: dict[str, Any]) -> dict[str, Any]:
    return {"gridspec_kw": options}


def _draw(axes: "Sequence[Axes]", sound: Sound, rate: int, top: float) -> Any:
    """A waveform and the spectrogram under it; gives the latter, for its scale."""
    seconds = len(sound.wave) / rate
    low, high = _envelope(sound.wave.numpy())
    at = np.linspace(0, seconds, len(low))
    axes[0].fill_between(at, low, high, color=sound.colour, linewidth=0.4)
    axes[0].locator_params(axis="y", nbins=3)
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
