"""How far two sounds are apart in their spectra, whatever their phases."""

from collections.abc import Sequence

import torch
from torch import Tensor

from caudal.errors import InputError

WINDOWS = (64, 256, 1024)
"""Samples of the windows: short ones see when, long ones see which pitch."""
_QUIET = (
    1e-3  # of a signal of deviation 1: below, differences of magnitudes in logarithms say nothing
)


def spectral_loss(
    x: Tensor, y: Tensor, windows: Sequence[int] = WINDOWS, *, averaged: bool = False
) -> Tensor:
    """Distance of x from y, both (B, 1, T) of deviation about 1: a scalar, the mean over clips.

    For each window of the short-time Fourier transform: the relative error of the magnitudes,
    ||X| - |Y||_F / ||Y|||_F, plus the mean |log |X| - log |Y||. Windows longer than the clips are
    left out. With `averaged` the magnitudes are first averaged over time: for sounds that need not
    happen at the same moment.
    References: the power loss of Parallel WaveNet (van den Oord et al., 2017), arXiv:1711.10433;
    several resolutions as in Parallel WaveGAN (Yamamoto, Song, Kim, 2020), arXiv:1910.11480.

    Raises:
        InputError: the clips are shorter than every window.
    """
    fitting = [window for window in windows if window <= x.shape[-1]]
    if not fitting:
        raise InputError(f"clips of {x.shape[-1]} samples are shorter than all windows {windows}")
    distances = [_distance(*_both(x, y, window, averaged)) for window in fitting]
    return torch.stack(distances).mean()


def magnitudes(x: Tensor, window: int) -> Tensor:
    """|STFT| of (B, 1, T), Hann windows that overlap by three quarters: (B, window/2 + 1, F).

    White noise of deviation 1 has magnitudes of about 1.
    """
    hann = torch.hann_window(window, dtype=x.dtype, device=x.device)
    found = torch.stft(
        x.squeeze(1), window, window // 4, window=hann, center=False, return_complex=True
    )
    power = torch.view_as_real(found).square().sum(-1) / hann.square().sum()
    return (power + 1e-12).sqrt()  # whose gradient is finite also where there is nothing


def _both(x: Tensor, y: Tensor, window: int, averaged: bool) -> tuple[Tensor, Tensor]:
    both = magnitudes(x, window), magnitudes(y, window)
    if not averaged:
        return both
    mean_x, mean_y = (m.square().mean(-1, keepdim=True).sqrt() for m in both)
    return mean_x, mean_y


def _distance(x: Tensor, y: Tensor) -> Tensor:
    relative = (x - y).flatten(1).norm(dim=1) / y.flatten(1).norm(dim=1).clamp(min=_QUIET)
    logs = ((x + _QUIET).log() - (y + _QUIET).log()).abs().flatten(1).mean(1)
    return (relative + logs).mean()
