"""The log-mel spectrum: how loud each band of pitches is in each frame."""

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from caudal.data.audio.convention import CAUDAL, Convention, reflected

_BLOCK = 1 << 22  # numbers of windowed frames at a time


def log_mel(
    x: Tensor, rate: int, hop: int, window: int, mels: int, convention: Convention = CAUDAL
) -> Tensor:
    """Natural logarithm of bands, at least the floor: (B, mels, T / hop rounded up).

    Without another convention, frame f has a Hann window of `window` samples, whose middle is that
    of the samples f hop to (f + 1) hop - 1; beyond the clip are zeros. Bands are triangles over
    magnitudes, evenly spaced from 0 to rate / 2 on Slaney's mel scale and of unit area in Hz, as
    in Tacotron 2 (arXiv:1712.05884); a band narrower than a bin of the spectrum is widened to one
    bin. The logarithm is natural whatever that of the convention is: see `Convention.unit`.

    Args:
        x: amplitudes in [-1, 1], (B, T).
        rate: samples a second.
        hop: samples a frame.
        window: samples of a window.
        mels: bands.
        convention: of bands and frames.
    """
    inner = extended(x, hop, window, convention)
    return framed_log_mel(inner, rate, hop, window, mels, convention)


def extended(x: Tensor, hop: int, window: int, convention: Convention = CAUDAL) -> Tensor:
    """Amplitudes (B, T) with the margins of their frames: zeros, or the clip reflected.

    The last frame may go beyond the clip: the result is (B, before + F hop + after).
    """
    before, after = margins(hop, window, convention)
    frames = -(-x.shape[-1] // hop)
    if convention.edges == "reflect":
        places = reflected(np.arange(-before, frames * hop + after), x.shape[-1])
        return x[:, torch.from_numpy(places)]
    wide = pad(x, (max(0, before), max(0, after) + frames * hop - x.shape[-1]))
    return wide[:, max(0, -before) : wide.shape[1] - max(0, -after)]


def margins(hop: int, window: int, convention: Convention = CAUDAL) -> tuple[int, int]:
    """How many samples before and after its frames a spectrum depends on; fewer, if negative."""
    before = window // 2 - convention.middle(hop)
    return before, window - hop - before


def framed_log_mel(
    x: Tensor, rate: int, hop: int, window: int, mels: int, convention: Convention = CAUDAL
) -> Tensor:
    """`log_mel` of amplitudes with their margins: (B, before + F hop + after) to (B, mels, F)."""
    shape = torch.hann_window(window, dtype=x.dtype, device=x.device)
    bands = filters(rate, window, mels, convention).to(x)
    frames = x.unfold(-1, window, hop)  # (B, F, window)
    some = max(1, _BLOCK // max(1, window * len(x)))
    spectra = [
        _powers(torch.fft.rfft(block * shape), convention.power) @ bands  # (B, f, mels)
        for block in frames.split(some, dim=1)
    ]
    return torch.cat(spectra, dim=1).clamp_min(convention.floor).log().transpose(1, 2)


def _powers(spectra: Tensor, power: int) -> Tensor:
    return spectra.abs() if power == 1 else spectra.abs().square()


@cache
def filters(rate: int, window: int, mels: int, convention: Convention = CAUDAL) -> Tensor:
    """The weight of each bin of the spectrum in each band: float64 (window // 2 + 1, mels)."""
    bins = torch.fft.rfftfreq(window, 1 / rate, dtype=torch.float64)[:, None]
    low, centre, high = _triangles(rate, mels, convention)
    if convention.widened:
        low, high = torch.minimum(low, centre - bins[1]), torch.maximum(high, centre + bins[1])
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    weights = torch.minimum(rising, falling).clamp_min(0)
    return weights * 2 / (high - low) if convention.norm == "area" else weights


def _triangles(rate: int, mels: int, convention: Convention) -> tuple[Tensor, Tensor, Tensor]:
    """Where each band begins, peaks and ends, in Hz, (mels,) float64."""
    to_mel, to_hertz = _SCALES[convention.scale]
    low, high = to_mel(torch.tensor(convention.ends(rate), dtype=torch.float64))
    places = torch.linspace(0, 1, mels + 2, dtype=torch.float64)
    edges = to_hertz(low + places * (high - low))
    return edges[:-2], edges[1:-1], edges[2:]


def _to_mel(hertz: Tensor) -> Tensor:
    """Slaney's scale: 15 mel up to 1 kHz, then 27 mel for each factor of 6.4."""
    above = 15 + 27 * (hertz / 1000).clamp_min(1).log() / torch.tensor(6.4).to(hertz).log()
    return torch.where(hertz < 1000, hertz * 0.015, above)


def _to_hertz(mel: Tensor) -> Tensor:
    above = 1000 * torch.tensor(6.4).to(mel) ** ((mel.clamp_min(15) - 15) / 27)
    return torch.where(mel < 15, mel / 0.015, above)


def _to_htk(hertz: Tensor) -> Tensor:
    """HTK's scale: 2595 log10(1 + f / 700)."""
    return 2595 / math.log(10) * torch.log1p(hertz / 700)


def _from_htk(mel: Tensor) -> Tensor:
    return 700 * torch.expm1(mel * math.log(10) / 2595)


_SCALES = {"slaney": (_to_mel, _to_hertz), "htk": (_to_htk, _from_htk)}
