"""How like the originals copies are, over all clips: every measure, its mean, and their table."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from caudal.errors import InputError
from caudal.report.audio.copies import Copy
from caudal.report.audio.hearing import hearing, hears
from caudal.report.audio.measures import (
    log_spectral_distance,
    loudness_error,
    stft_distance,
    treble_difference,
)
from caudal.report.numbers import number, plain


class Measure(NamedTuple):
    """A measure of copies: its name, in words, what it means, and how bad its values are."""

    name: str
    words: str
    meaning: str
    fault: Callable[[Tensor], Tensor] = torch.abs


MEASURES = (
    Measure("convergence", "spectral convergence", "loud parts above all"),
    Measure("log_magnitude", "log-magnitude", "nepers, all parts alike"),
    Measure("log_spectral_distance", "log-spectral distance", "dB"),
    Measure("loudness_error", "loudness error", "dB, of 50 ms frames"),
    Measure("level", "level", "dB of the originals"),
    Measure("treble", "treble", "dB, above rate / 4"),
)
HEARD = (
    Measure("voicing", "voicing F1", "1 is equal", lambda value: 1 - value),
    Measure("pitch", "pitch error", "semitones, median"),
    Measure("pitch_rms", "pitch error (RMS)", "semitones"),
    Measure("harmonicity", "harmonics to noise", "dB of the originals"),
)
"""Those that the extra `pitch` adds."""


@dataclass(frozen=True, eq=False)
class Mean:
    """A mean over clips; `values` (N,) are NaN where a clip has none."""

    values: Tensor

    @property
    def known(self) -> Tensor:
        """The values that there are."""
        return self.values[~self.values.isnan()]

    @property
    def mean(self) -> float:
        """NaN without any value."""
        return float(self.known.mean())

    @property
    def se(self) -> float:
        """The standard error, NaN for fewer than two values."""
        n = len(self.known)
        return float(self.known.std()) / math.sqrt(n) if n > 1 else math.nan


@dataclass(frozen=True, eq=False)
class CopyMeasures:
    """How far copies are from originals, as means over clips (see `measures` and `hearing`).

    Attributes:
        clips: how many there are.
        convergence: spectral convergence over several windows.
        log_magnitude: mean |difference| of natural log-magnitudes over several windows.
        log_spectral_distance: dB.
        loudness_error: mean |difference| in frames that are not silent, dB.
        level: copies less originals, dB.
        treble: average spectrum above rate / 4, copies less originals, dB.
        voicing: F1 of voiced frames; this and the others are None without the extra `pitch`.
        pitch: median |difference|, semitones.
        pitch_rms: root mean square difference, semitones.
        harmonicity: harmonics-to-noise ratio, copies less originals, dB.
    """

    clips: int
    convergence: Mean
    log_magnitude: Mean
    log_spectral_distance: Mean
    loudness_error: Mean
    level: Mean
    treble: Mean
    voicing: Mean | None = None
    pitch: Mean | None = None
    pitch_rms: Mean | None = None
    harmonicity: Mean | None = None

    @property
    def taken(self) -> tuple[Measure, ...]:
        """The measures that were taken."""
        return (*MEASURES, *HEARD) if self.voicing is not None else MEASURES

    def of(self, measure: Measure) -> Mean:
        """The mean of one of them."""
        mean: Mean = getattr(self, measure.name)
        return mean

    def to_dict(self) -> dict[str, Any]:
        """For JSON: each measure as {mean, se}."""
        means = {measure.name: self.of(measure) for measure in self.taken}
        pairs = {k: {"mean": plain(m.mean), "se": plain(m.se)} for k, m in means.items()}
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
    means = torch.tensor(rows, dtype=torch.float64).T
    return CopyMeasures(len(rows), *map(Mean, means))


def measured(copies: Sequence[Copy], rate: int) -> CopyMeasures:
    """Measures copies against their own originals."""
    return measure_copies([c.original for c in copies], [c.sample for c in copies], rate)


def _measure(x: Tensor, y: Tensor, rate: int) -> list[float]:
    x, y = x.cpu().double(), y.cpu().double()
    stft, loudness = stft_distance(x, y, rate), loudness_error(x, y, rate)
    far = log_spectral_distance(x, y, rate)
    spectral = [float(v) for v in (*stft, far, *loudness, treble_difference(x, y, rate))]
    return [*spectral, *hearing(x[0], y[0], rate)] if hears() else spectral


# --- to read -------------------------------------------------------------------------------------


def with_error(m: Mean) -> str:
    """A mean to read, with two standard errors where they are known."""
    spread = f" ± {number(2 * m.se, 2)}" if m.se == m.se else ""
    return f"{number(m.mean, 2)}{spread}".replace("-", "−")


def likeness_rows(
    sides: Sequence[CopyMeasures], floors: Mapping[str, CopyMeasures]
) -> list[list[str]]:
    """Words, means with their errors, the means of floors, and the meaning of each measure."""
    return [
        [
            measure.words,
            *(with_error(side.of(measure)) for side in sides),
            *(number(floor.of(measure).mean, 2).replace("-", "−") for floor in floors.values()),
            measure.meaning,
        ]
        for measure in sides[0].taken
    ]
