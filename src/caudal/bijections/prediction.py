"""Linear prediction of sound: what its spectrum says of each sample, given those before it."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from caudal.bijection import Bijection

_LEAST = 1e-7  # amplitude of a bin of the spectrum
_WHITE = 1e-5  # share of the power, added as white noise: it keeps the recursion well-conditioned
_BLOCK = 64  # samples that are solved for at once, on the way to the sound
_NUMBERS = 1 << 21  # coefficients at a time, on the way to the noise


class Prediction(Bijection):
    """A fixed map between sound and what is left of it when it is predicted from its past.

    x_t = m_t + s_t z_t, where m_t and s_t > 0 follow from the sound before t and the context.
    """

    @abstractmethod
    def log_scale(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Log s of each sample of sounds x (B, 1, T), in that shape, float64."""


class LinearPrediction(Prediction):
    """z_t = (x_t - sum_k a_k x_(t-k)) / s, where a and s follow from the spectrum of the moment.

    Sounds x are amplitudes (B, 1, T). The last channels of the context (B, C, F) are their log-mel
    spectrum, of which frame f is for the samples f hop to (f + 1) hop - 1; a single frame is for
    all samples. The bands give a power spectrum, this an autocorrelation, and this, by the
    recursion of Levinson and Durbin, the filter of least error and the deviation s of its error.
    The first samples, before which there are fewer than `order`, have the filters of lower order:
    clips and crops begin as any piece of a stationary sound would. So z is white noise of
    deviation 1 for a Gaussian sound of these spectra, and what there is to learn of others.

    The filter of each frame is stable, and one follows the other without harm where windows
    overlap; spectra that jump from frame to frame, as no sound has them, can make samples grow.

    Nothing is learned. The Jacobian is triangular with 1 / s on its diagonal, so that
    log|det dz/dx| = -sum log s. All is computed in float64. From noise to sound, blocks of samples
    are solved for one after the other, which is exact, and differentiable in z.
    References: linear prediction as part of a vocoder: LPCNet (Valin, Skoglund, 2018),
    arXiv:1810.11846.

    Args:
        bands: the weight of each bin of the spectrum in each band, (window // 2 + 1, mels).
        window: samples of the Hann window of the spectrum.
        hop: samples a frame.
        order: how many samples before it each one is predicted from, less than `window`.
        noise: mean square of white noise that x has besides what the spectrum says, such as that
            of dequantisation.

    Raises:
        ValueError: the order is not between 1 and the window.
    """

    to_bins: Tensor

    def __init__(
        self, bands: Tensor, window: int, hop: int, order: int, noise: float = 0.0
    ) -> None:
        super().__init__()
        if not 1 <= order < window:
            raise ValueError(f"`order` must be from 1 to {window - 1}, got {order}")
        inverse = torch.linalg.pinv(bands.double().T)  # (bins, mels)
        self.register_buffer("to_bins", inverse.float(), persistent=False)
        self.window, self.hop, self.order, self.noise = window, hop, order, noise

    def extra_repr(self) -> str:
        return f"order={self.order}, bands={self.to_bins.shape[1]}, hop={self.hop}"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        filters = self.filters(context, z.shape[-1])
        log_scale = filters.log_scale[:, filters.rows]
        scaled = z[:, 0].double() * log_scale.exp()  # (B, T)
        past, blocks = scaled.new_zeros(len(z), self.order), []
        for start in range(0, z.shape[-1], _BLOCK):
            some = slice(start, start + _BLOCK)
            block = _solved(filters.coefficients[:, filters.rows[some]], scaled[:, some], past)
            past = torch.cat([past, block], 1)[:, -self.order :]
            blocks.append(block)
        x = torch.cat(blocks, 1).to(z.dtype).unsqueeze(1)
        return x, log_scale.sum(1).to(z.dtype)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        filters = self.filters(context, x.shape[-1])
        log_scale = filters.log_scale[:, filters.rows]
        z = (x[:, 0] - self._predicted(x[:, 0].double(), filters)) * (-log_scale).exp()
        return z.to(x.dtype).unsqueeze(1), -log_scale.sum(1).to(x.dtype)

    def log_scale(self, x: Tensor, context: Tensor | None) -> Tensor:
        filters = self.filters(context, x.shape[-1])
        return filters.log_scale[:, filters.rows].unsqueeze(1)

    @torch.compiler.disable  # as a graph, a recursion of many small steps takes a minute
    @torch.no_grad()
    def filters(self, context: Tensor | None, length: int) -> "Filters":
        """The filters of clips of `length` samples.

        Raises:
            ValueError: there are no frames, or fewer than the clip needs.
        """
        correlation = self._autocorrelation(self.frames(context, length))  # (B, F, P + 1)
        frame = torch.arange(length, device=correlation.device) // self.hop
        frame = frame.clamp(max=correlation.shape[1] - 1)
        early = min(self.order, length)
        coefficients, variances = [], []
        for order, (filter_, variance) in enumerate(predictors(correlation)):
            some = frame[order : order + 1] if order < early else slice(None)
            if order < early or order == self.order:
                oldest_first = filter_[:, some].flip(-1)
                coefficients.append(F.pad(oldest_first, (self.order - order, 0)))
                variances.append(variance[:, some])
        first, later = torch.arange(early).to(frame), early + frame[early:]
        log_scale = torch.cat(variances, 1).log() / 2
        return Filters(torch.cat(coefficients, 1), log_scale, torch.cat([first, later]))

    def frames(self, context: Tensor | None, length: int) -> Tensor:
        """The log-mel spectrum of clips of `length` samples, (B, mels, F).

        Raises:
            ValueError: there are no frames, or fewer than the clip needs.
        """
        if context is None:
            raise ValueError("linear prediction needs a spectrum as `context`")
        mels, needed = self.to_bins.shape[1], -(-length // self.hop)
        if context.shape[-1] != 1 and context.shape[-1] < needed:
            raise ValueError(
                f"{length} samples at {self.hop} a frame need {needed} frames of context, "
                f"got {context.shape[-1]}"
            )
        return context[:, -mels:, :needed]

    def _autocorrelation(self, log_mel: Tensor) -> Tensor:
        """That of the sound in each frame, from lag 0 on, (B, F, order + 1) float64."""
        bands = log_mel.double().transpose(1, 2).exp()
        magnitudes = (bands @ self.to_bins.double().T).clamp_min(_LEAST)
        power = magnitudes.square() / (0.375 * self.window)  # of Hann's window, squared
        correlation = torch.fft.irfft(power, n=self.window)[..., : self.order + 1]
        white = _WHITE * correlation[..., :1] + self.noise
        return torch.cat([correlation[..., :1] + white, correlation[..., 1:]], -1)

    def _predicted(self, x: Tensor, filters: "Filters") -> Tensor:
        """The prediction of each sample of x (B, T) float64 from those before it."""
        past = F.pad(x, (self.order, 0))[:, :-1].unfold(1, self.order, 1)  # (B, T, P)
        size = max(1, _NUMBERS // (self.order * max(1, len(x))))
        parts = zip(past.split(size, 1), filters.rows.split(size), strict=True)
        return torch.cat(
            [(some * filters.coefficients[:, rows]).sum(-1) for some, rows in parts], 1
        )


class Filters(NamedTuple):
    """Filters of clips, all float64.

    Attributes:
        coefficients: (B, R, order), that of the oldest sample first.
        log_scale: of the errors, (B, R).
        rows: which of the R filters predicts each sample, (T,).
    """

    coefficients: Tensor
    log_scale: Tensor
    rows: Tensor


def predictors(correlation: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """The filters of order 0, 1, ... P of least error, for autocorrelations (..., P + 1).

    Yields the coefficients (..., order), that of the nearest sample first, and the variance (...)
    of the error, by the recursion of Levinson and Durbin.
    """
    filter_, variance = correlation[..., :0], correlation[..., 0]
    yield filter_, variance
    for order in range(1, correlation.shape[-1]):
        known = (filter_ * correlation[..., 1:order].flip(-1)).sum(-1)
        reflection = ((correlation[..., order] - known) / variance).unsqueeze(-1)
        filter_ = torch.cat([filter_ - reflection * filter_.flip(-1), reflection], -1)
        variance = variance * (1 - reflection.squeeze(-1).square())
        yield filter_, variance


def banded(coefficients: Tensor) -> Tensor:
    """Coefficients (B, n, P) of n samples in a row, (B, n, P + n): each row one further right."""
    n, order = coefficients.shape[1:]
    wide = F.pad(coefficients, (0, n + 1)).flatten(1)[:, :-n]
    return wide.unflatten(1, (n, order + n))


def _solved(coefficients: Tensor, driven: Tensor, past: Tensor) -> Tensor:
    """The samples x_t = driven_t + sum_k a_k x_(t-k) of a block, (B, n).

    Args:
        coefficients: (B, n, P), that of the oldest sample first.
        driven: (B, n).
        past: the P samples before, (B, P).
    """
    order, band = coefficients.shape[2], banded(coefficients)
    driven = driven + (band[..., :order] @ past.unsqueeze(-1)).squeeze(-1)
    x: Tensor = torch.linalg.solve_triangular(
        -band[..., order:], driven.unsqueeze(-1), upper=False, unitriangular=True
    )
    return x.squeeze(-1)
