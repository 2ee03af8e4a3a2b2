"""The distance of two sounds by their spectra, whatever their phases."""

from collections.abc import Sequence

import torch
from torch import Tensor

from caudal.errors import InputError

WINDOWS = (64, 256, 1024)
"""Window lengths in samples: short windows resolve time, long ones resolve pitch."""
_QUIET = 1e-3  # magnitudes below this share of a signal's deviation do not count


def spectral_loss(
    x: Tensor, y: Tensor, windows: Sequence[int] = WINDOWS, *, averaged: bool = False
) -> Tensor:
    """Distance of x from y, both (B, 1, T) of deviation about 1: a scalar, the mean over clips.

    For each window of the short-time Fourier transform, with magnitudes |X| and |Y|:

    - the power loss: with m their root mean squares over time, ||m_x - m_y|| / ||m_y||;
    - the mean of |log |X| - log |Y||, frame by frame. With `averaged` it compares the m instead,
      for sounds that need not happen at the same moment.

    Windows longer than the clips are left out. The usual || |X| - |Y| ||_F / ||Y||_F of frames is
    not used: magnitudes of sounds with different phases differ at random, so that a softer sound
    is nearer. For two equally loud noises it is least at a gain of pi/4, -2.1 dB.
    References: the power loss of Parallel WaveNet (van den Oord et al., 2017), arXiv:1711.10433;
    several resolutions as in Parallel WaveGAN (Yamamoto, Song, Kim, 2020), arXiv:1910.11480.

    Raises:
        InputError: the clips are shorter than every window.
    """
    fitting = [window for window in windows if window <= x.shape[-1]]
    if not fitting:
        raise InputError(f"clips of {x.shape[-1]} samples are shorter than all windows {windows}")
    distances = [_distance(magnitudes(x, n), magnitudes(y, n), averaged) for n in fitting]
    return torch.stack(distances).mean()


def magnitudes(x: Tensor, window: int) -> Tensor:
    """|STFT| of (B, 1, T), Hann windows that overlap by three quarters: (B, window/2 + 1, F).

    White noise of deviation 1 has magnitudes of about 1.
    """
    hann = torch.hann_window(window, dtype=x.dtype, device=x.device)
    spectra = torch.stft(
        x.squeeze(1), window, window // 4, window=hann, center=False, return_complex=True
    )
    power = torch.view_as_real(spectra).square().sum(-1) / hann.square().sum()
    return (power + 1e-12).sqrt()  # the gradient is finite even in silence


def _distance(x: Tensor, y: Tensor, averaged: bool) -> Tensor:
    mean_x, mean_y = (m.square().mean(-1).sqrt() for m in (x, y))
    power = (mean_x - mean_y).norm(dim=1) / mean_y.norm(dim=1).clamp(min=_QUIET)
    one, other = (mean_x, mean_y) if averaged else (x, y)
    logs = ((one + _QUIET).log() - (other + _QUIET).log()).abs().flatten(1).mean(1)
    return (power + logs).mean()
