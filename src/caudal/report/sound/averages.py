"""Average spectra: what is quiet or dull shows in them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from caudal.report.sound.spectra import FLOOR, average_spectrum, level
from caudal.report.style import QUIET, WIDTH, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RANGE = 90.0  # dB from the top that the frame holds


class Side(NamedTuple):
    """Sounds (T,) in amplitudes that are averaged, what they are, and the colour of their line."""

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
    axes.set_ylim(max(low, top - RANGE) - 3, top + 5)
    axes.set_xlim(0, rate / 2000)
    axes.axvline(rate / 4000, color=QUIET, linewidth=0.8, linestyle=(0, (2, 4)))
    axes.set_xlabel("kHz")
    axes.set_ylabel("mean power (dB)")
    axes.legend(loc="upper right")
    return figure


def spectrum_db(waves: Sequence[Tensor], rate: int) -> np.ndarray:
    """Mean power of all sounds at each frequency, in dB: (F,)."""
    power = torch.stack([average_spectrum(wave[None], rate)[0] for wave in waves]).mean(0)
    found: np.ndarray = (10 * power.clamp(min=FLOOR**2).log10()).numpy()
    return found


def loudness(waves: Sequence[Tensor]) -> float:
    """Root mean square of all sounds together, in dB."""
    return float(level(torch.cat([*waves])[None]))
