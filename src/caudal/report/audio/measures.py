"""Measures of copies against originals, averaged over clips."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from caudal.errors import InputError
from caudal.report.audio.spectra import (
    log_spectral_distance,
    loudness_error,
    stft_distance,
    treble_difference,
)
from caudal.report.distilled import ScreenTable
from caudal.report.numbers import number, plain


class Mean(NamedTuple):
    """A mean over clips and its standard error, NaN for fewer than two."""

    mean: float
    se: float


@dataclass(frozen=True)
class CopyMeasures:
    """How far copies are from originals, as means over clips (see `spectra`).

    Attributes:
        clips: how many there are.
        convergence: spectral convergence over several windows.
        log_magnitude: mean |difference| of natural log-magnitudes over several windows.
        log_spectral_distance: dB.
        loudness_error: mean |difference| in frames that are not silent, dB.
        level: copies less originals, dB.
        treble: average spectrum above rate / 4, copies less originals, dB.
    """

    clips: int
    convergence: Mean
    log_magnitude: Mean
    log_spectral_distance: Mean
    loudness_error: Mean
    level: Mean
    treble: Mean

    def to_dict(self) -> dict[str, Any]:
        """For JSON: each measure as {mean, se}."""
        measures = {k: v for k, v in asdict(self).items() if k != "clips"}
        pairs = {k: {"mean": plain(m[0]), "se": plain(m[1])} for k, m in measures.items()}
        return {"clips": self.clips, **pairs}


@torch.no_grad()
def measure_copies(
    originals: Sequence[Tensor], copies: Sequence[Tensor], rate: int
) -> CopyMeasures:
    """Measures copies (T,) against originals of the same lengths, amplitudes from -1 to 1.

    Raises:
        InputError: there are none, or other lengths.
    """
    if not originals or [len(x) for x in originals] != [len(y) for y in copies]:
        lengths = [[len(x) for x in side] for side in (originals, copies)]
        raise InputError(f"originals and copies need the same lengths, got {lengths}")
    rows = [_measure(x[None], y[None], rate) for x, y in zip(originals, copies, strict=True)]
    means = [_mean(torch.stack(column)) for column in zip(*rows, strict=True)]
    return CopyMeasures(len(rows), *means)


def _measure(x: Tensor, y: Tensor, rate: int) -> list[Tensor]:
    x, y = x.cpu().double(), y.cpu().double()
    stft, loudness = stft_distance(x, y, rate), loudness_error(x, y, rate)
    far = log_spectral_distance(x, y, rate)
    return [v[0] for v in (*stft, far, *loudness, treble_difference(x, y, rate))]


def _mean(values: Tensor) -> Mean:
    n = len(values)
    se = float(values.std()) / math.sqrt(n) if n > 1 else math.nan
    return Mean(float(values.mean()), se)


MEASURES = (
    ("convergence", "STFT, convergence", "of magnitudes, loud parts above all; 0 is equal"),
    ("log_magnitude", "STFT, log-magnitude", "nepers, all parts alike; 1 is 8.7 dB"),
    ("log_spectral_distance", "log-spectral distance", "dB, root mean square over frequencies"),
    ("loudness_error", "loudness error", "dB, of 50 ms frames that are not silent"),
    ("level", "level", "dB above the originals; far below 0 is quiet"),
    ("treble", "treble", "dB above the originals', beyond a quarter of the rate; below 0 dull"),
)


def with_error(m: Mean) -> str:
    """A mean to read, with two standard errors where they are known."""
    spread = f" ± {number(2 * m.se, 2)}" if m.se == m.se else ""
    return f"{number(m.mean, 2)}{spread}".replace("-", "−")


def copy_table(measures: CopyMeasures) -> ScreenTable:
    """The measures of a flow's own copies."""
    title = f"Copies against originals, means over {measures.clips} clips ± two standard errors."
    rows = [[words, with_error(getattr(measures, name)), note] for name, words, note in MEASURES]
    return ScreenTable(title, ["", "samples", ""], rows, " n ")
