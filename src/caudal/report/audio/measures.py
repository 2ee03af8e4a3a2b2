"""How far copies of sounds are from the originals, by their spectra and by their loudness."""

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

WINDOWS = (0.01, 0.025, 0.05)  # seconds; short windows find clicks, long ones find pitch
FLOOR = 1e-5  # times a sine of full scale: -100 dB, below which nothing is heard
FRAME = 0.05  # seconds of a frame's loudness
SILENT = 40.0  # dB below a clip's loudest frame; quieter frames are its pauses


class StftDistance(NamedTuple):
    """Spectral convergence and log-magnitude distance (natural logarithm), each (B,)."""

    convergence: Tensor
    log_magnitude: Tensor


class Loudness(NamedTuple):
    """Mean |difference| of frames in dB, and the overall difference in dB, each (B,)."""

    error: Tensor
    level: Tensor


def magnitudes(x: Tensor, size: int, hop: int) -> Tensor:
    """STFT magnitudes of x (B, T), 1 for a sine of full scale: (B, size / 2 + 1, frames).

    Windows are Hann's; silence follows sounds that are shorter than one.
    """
    x = F.pad(x, (0, max(0, size - x.shape[1])))
    window = torch.hann_window(size, dtype=x.dtype, device=x.device)
    stft = torch.stft(x, size, hop, window=window, center=False, return_complex=True)
    return stft.abs() * (2 / window.sum())


def sizes(rate: int) -> list[int]:
    """The windows in samples, as even numbers."""
    return [max(16, 2 * round(seconds * rate / 2)) for seconds in WINDOWS]


def stft_distance(x: Tensor, y: Tensor, rate: int) -> StftDistance:
    """How far y (B, T) is from x, averaged over windows of several sizes.

    Convergence is the norm of |X| - |Y| over that of |X|, which loud parts dominate. Log-magnitude
    is the mean of |ln |X| - ln |Y||, in which all parts count alike, down to the floor.
    Reference: Fast spectrogram inversion using multi-head convolutional neural networks (Arik,
    Jun, Diamos, 2018), arXiv:1808.06719.
    """
    x, y = x.double(), y.double()
    distances = [
        _distance(magnitudes(x, n, n // 4), magnitudes(y, n, n // 4)) for n in sizes(rate)
    ]
    convergence, log_magnitude = torch.stack(distances).mean(0)
    return StftDistance(convergence, log_magnitude)


def _distance(x: Tensor, y: Tensor) -> Tensor:
    norm = x.square().sum((1, 2)).sqrt().clamp(min=FLOOR)
    convergence = (x - y).square().sum((1, 2)).sqrt() / norm
    log = (x.clamp(min=FLOOR).log() - y.clamp(min=FLOOR).log()).abs().mean((1, 2))
    return torch.stack([convergence, log])


def log_spectral_distance(x: Tensor, y: Tensor, rate: int) -> Tensor:
    """Mean over frames of the root mean square difference of log spectra, in dB: (B,)."""
    size = sizes(rate)[1]
    x, y = (decibels(magnitudes(s.double(), size, size // 4)) for s in (x, y))
    return (x - y).square().mean(1).sqrt().mean(1)


def loudness_error(x: Tensor, y: Tensor, rate: int) -> Loudness:
    """How much louder or softer y (B, T) is than x, in 50 ms frames where x is not silent.

    The overall level is that of y minus that of x over all those frames, below 0 if y is too soft.
    """
    a, b = frame_power(x, rate), frame_power(y, rate)
    loud = a > a.amax(1, keepdim=True) * 10 ** (-SILENT / 10)
    # Of silence, all frames are the loudest.
    loud |= (a == a.amax(1, keepdim=True)) & ~loud.any(1, keepdim=True)
    n = loud.sum(1)
    error = ((power_db(a) - power_db(b)).abs() * loud).sum(1) / n
    level = power_db((b * loud).sum(1) / n) - power_db((a * loud).sum(1) / n)
    return Loudness(error, level)


def frame_power(x: Tensor, rate: int) -> Tensor:
    """Mean square of x (B, T) in frames of 50 ms, (B, frames) float64."""
    size = min(x.shape[1], max(1, round(FRAME * rate)))
    return x.double().unfold(1, size, size).square().mean(2)


def level(x: Tensor) -> Tensor:
    """Root mean square of x (B, T) in dB, 0 for a constant of 1: (B,)."""
    return power_db(x.double().square().mean(1))


def average_spectrum(x: Tensor, rate: int) -> Tensor:
    """Mean power of x (B, T) at each frequency from 0 to rate / 2, (B, F)."""
    size = sizes(rate)[1]
    return magnitudes(x.double(), size, size // 4).square().mean(2)


def treble_difference(x: Tensor, y: Tensor, rate: int) -> Tensor:
    """How far the average spectrum of y above rate / 4 is above that of x, in dB: (B,).

    Power is summed over those frequencies; the difference is below 0 where y is dull.
    """
    powers = [average_spectrum(s, rate) for s in (x, y)]
    upper = slice(powers[0].shape[1] // 2, None)
    a, b = (power_db(p[:, upper].sum(1)) for p in powers)
    return b - a


def decibels(magnitude: Tensor) -> Tensor:
    """Magnitudes in dB, not below the floor."""
    return 20 * magnitude.clamp(min=FLOOR).log10()


def power_db(power: Tensor) -> Tensor:
    """Powers in dB, not below the floor."""
    return 10 * power.clamp(min=FLOOR**2).log10()
