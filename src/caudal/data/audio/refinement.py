"""Sound made consistent with a mel spectrum, by steps of Griffin and Lim over its bands."""

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from caudal.data.audio.mel import extended, filters, margins
from caudal.data.audio.schema import AudioSchema
from caudal.errors import InputError

STEPS = 32
"""Steps after which little changes."""
MOMENTUM = 0.9
_BLOCK = 1 << 20  # numbers of windowed frames at a time: bounds the memory
_LEAST = 1e-8  # least sum of squares of the windows, at the ends
_SILENT = 1e-30  # least magnitude of a band that is divided by


@torch.no_grad()
def refined(x: Tensor, log_mel: Tensor, schema: AudioSchema, steps: int) -> Tensor:
    """The sounds (B, T) near x, amplitudes, whose bands are nearly those of a log-mel spectrum.

    With S the spectra of the frames of a sound, P the projection onto spectra of sounds, and Q
    what scales the bins of each frame so that its bands are those asked for,

        S_n = P(Q(T_(n-1))),  T_n = S_n + 0.9 (S_n - S_(n-1)),

    which is the fast algorithm of Griffin and Lim, but for Q: a mel spectrum has fewer bands than
    there are bins, and what it leaves open, the phases and how magnitudes go within a band, stays
    what it was in x. A bin is scaled by the ratios of its bands, asked for to present, averaged
    by their weights; bins outside of all bands are left alone. Nothing is learned.
    Reference: A fast Griffin-Lim algorithm (Perraudin, Balazs, Soendergaard, 2013).

    Args:
        x: amplitudes, such as a flow's sample for that spectrum.
        log_mel: natural logarithms, (B, mels, frames).
        schema: of which convention they are.
        steps: how many; 0 gives x.

    Raises:
        InputError: windows overlap by less than half, or there is no spectrum.
    """
    if not schema.tells_loudness:
        raise InputError(
            "`refine`: the flow is given no spectrum whose windows overlap by half: use 0"
        )
    to_bands = _Bands(log_mel, schema)
    sound = tried = x.double().cpu()
    for step in range(steps):
        # Spectra are linear in sounds, so that the sounds of S_n and T_n are all that is kept.
        before, sound = sound, _projected(tried, to_bands, schema)
        tried = torch.lerp(before, sound, 1 + MOMENTUM) if step else sound
    return sound.to(x)


def _projected(x: Tensor, to_bands: "_Bands", schema: AudioSchema) -> Tensor:
    """The sounds (B, T) nearest to the scaled spectra of sounds, through blocks of frames."""
    wide = extended(x, schema.hop, schema.window, schema.convention)
    frames = (wide.shape[-1] - schema.window) // schema.hop + 1
    some = max(1, _BLOCK // (schema.window * max(1, len(x))))
    sums = wide.new_zeros(len(x) + 1, wide.shape[-1])
    for first in range(0, frames, some):
        last = min(first + some, frames) - 1
        part = slice(first * schema.hop, last * schema.hop + schema.window)
        sums[:, part] += _summed(to_bands(framed(wide[:, part], schema), first), schema)
    return _divided(sums, schema, x.shape[-1])


class _Bands:
    """Scales spectra (B, F, bins) so that their bands are about those of a log-mel spectrum."""

    def __init__(self, log_mel: Tensor, schema: AudioSchema) -> None:
        self.power = schema.convention.power
        self.target = log_mel.double().cpu().exp().transpose(1, 2)  # (B, F, mels)
        self.weights = filters(schema.rate, schema.window, schema.mels, schema.convention)
        share = self.weights.sum(1)
        self.outside = share == 0
        self.shares = (self.weights / share.where(share > 0, 1.0)[:, None]).T  # (mels, bins)

    def __call__(self, spectrum: Tensor, first: int = 0) -> Tensor:
        """The spectra of frames from the first one on, scaled."""
        present = spectrum.abs() ** self.power @ self.weights
        ratios = self.target[:, first : first + spectrum.shape[1]] / present.clamp_min(_SILENT)
        scale = (ratios @ self.shares) ** (1 / self.power)
        return spectrum * scale.masked_fill(self.outside, 1.0)


# --- sounds and their frames, as log_mel has them ------------------------------------------------


def spectra(x: Tensor, schema: AudioSchema) -> Tensor:
    """The spectrum of each frame (B, F, bins) of sounds (B, T)."""
    return framed(extended(x, schema.hop, schema.window, schema.convention), schema)


def framed(wide: Tensor, schema: AudioSchema) -> Tensor:
    """The spectrum of each frame (B, F, bins) of sounds with the margins of their frames."""
    return torch.fft.rfft(wide.unfold(-1, schema.window, schema.hop) * _window(schema))


def overlapped(spectrum: Tensor, schema: AudioSchema, length: int) -> Tensor:
    """The sounds (B, length) whose frames are nearest to these spectra (B, F, bins)."""
    return _divided(_summed(spectrum, schema), schema, length)


def _summed(spectrum: Tensor, schema: AudioSchema) -> Tensor:
    """Windowed frames where they lie, summed, and last squares of windows: (B + 1, whole)."""
    window = _window(schema)
    frames = torch.fft.irfft(spectrum, n=schema.window) * window  # (B, F, window)
    weights = window.square().expand(1, *frames.shape[1:])
    sums = torch.cat([frames, weights]).transpose(1, 2)  # (B + 1, window, F)
    whole = (frames.shape[1] - 1) * schema.hop + schema.window
    return F.fold(sums, (1, whole), (1, schema.window), stride=(1, schema.hop))[:, 0, 0]


def _divided(summed: Tensor, schema: AudioSchema, length: int) -> Tensor:
    """The sounds (B, length) of such sums."""
    before, _ = margins(schema.hop, schema.window, schema.convention)
    inner = summed[:, before : before + length]
    return inner[:-1] / inner[-1].clamp_min(_LEAST)


def _window(schema: AudioSchema) -> Tensor:
    return torch.hann_window(schema.window, dtype=torch.float64)
