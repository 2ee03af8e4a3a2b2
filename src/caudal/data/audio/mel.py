"""The log-mel spectrum: how loud each band of pitches is in each frame."""

from functools import cache

import torch
from torch import Tensor
from torch.nn.functional import pad

FLOOR = 1e-5
_BLOCK = 1 << 22  # numbers of windowed frames at a time


def log_mel(x: Tensor, rate: int, hop: int, window: int, mels: int) -> Tensor:
    """Natural logarithm of the magnitudes of bands, at least 1e-5: (B, mels, T / hop rounded up).

    Frame f has a Hann window of `window` samples, whose middle is that of the samples f hop to
    (f + 1) hop - 1; beyond the clip are zeros. Bands are triangles, evenly spaced from 0 to
    rate / 2 on Slaney's mel scale and of unit area in Hz, as in Tacotron 2 (arXiv:1712.05884); a
    band narrower than a bin of the spectrum is widened to one bin.

    Args:
        x: amplitudes in [-1, 1], (B, T).
        rate: samples a second.
        hop: samples a frame.
        window: samples of a window.
        mels: bands.
    """
    before, after = margins(hop, window)
    frames = -(-x.shape[-1] // hop)
    wide = pad(x, (max(0, before), max(0, after) + frames * hop - x.shape[-1]))
    inner = wide[:, max(0, -before) : wide.shape[1] - max(0, -after)]
    return framed_log_mel(inner, rate, hop, window, mels)


def margins(hop: int, window: int) -> tuple[int, int]:
    """How many samples before and after its frames a spectrum depends on; fewer, if negative."""
    before = window // 2 - hop // 2
    return before, window - hop - before


def framed_log_mel(x: Tensor, rate: int, hop: int, window: int, mels: int) -> Tensor:
    """`log_mel` of amplitudes with their margins: (B, before + F hop + after) to (B, mels, F)."""
    shape = torch.hann_window(window, dtype=x.dtype, device=x.device)
    bands = filters(rate, window, mels).to(x)
    frames = x.unfold(-1, window, hop)  # (B, F, window)
    some = max(1, _BLOCK // max(1, window * len(x)))
    spectra = [
        torch.fft.rfft(block * shape).abs() @ bands  # (B, f, mels)
        for block in frames.split(some, dim=1)
    ]
    return torch.cat(spectra, dim=1).clamp_min(FLOOR).log().transpose(1, 2)


@cache
def filters(rate: int, window: int, mels: int) -> Tensor:
    """The weight of each bin of the spectrum in each band: float64 (window // 2 + 1, mels)."""
    top = _to_mel(torch.tensor([rate / 2], dtype=torch.float64))
    edges = _to_hertz(torch.linspace(0, 1, mels + 2, dtype=torch.float64) * top)
    bins = torch.fft.rfftfreq(window, 1 / rate, dtype=torch.float64)[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    low, high = torch.minimum(low, centre - bins[1]), torch.maximum(high, centre + bins[1])
    rising, falling = (bins - low) / (centre - low), (high - bins) / (high - centre)
    return torch.minimum(rising, falling).clamp_min(0) * 2 / (high - low)


def _to_mel(hertz: Tensor) -> Tensor:
    """Slaney's scale: 15 mel up to 1 kHz, then 27 mel for each factor of 6.4."""
    above = 15 + 27 * (hertz / 1000).clamp_min(1).log() / torch.tensor(6.4).to(hertz).log()
    return torch.where(hertz < 1000, hertz * 0.015, above)


def _to_hertz(mel: Tensor) -> Tensor:
    above = 1000 * torch.tensor(6.4).to(mel) ** ((mel.clamp_min(15) - 15) / 27)
    return torch.where(mel < 15, mel / 0.015, above)
