"""Linear prediction of sound: what its spectrum says of each sample, given those before it."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from caudal.bijection import Bijection, recut
from caudal.numerics.compiled import array, in_loops, loop

_LEAST = 1e-7  # amplitude of a bin of the spectrum
_WHITE = 1e-5  # share of the power, added as white noise: it keeps the recursion well-conditioned
_LOOPS = "caudal.numerics.recursions"  # compiled, where no gradients are asked for
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
    are solved for one after the other, which is exact, and differentiable in z. Where no gradients
    are asked for and Numba is there, compiled loops do that, and the recursion.
    References: linear prediction as part of a vocoder: LPCNet (Valin, Skoglund, 2018),
    arXiv:1810.11846.

    Args:
        bands: the weight of each bin of the spectrum in each band, (window // 2 + 1, mels).
        window: samples of the Hann window of the spectrum.
        hop: samples a frame.
        order: how many samples before it each one is predicted from, less than `window`.
        noise: mean square of white noise that x has besides what the spectrum says, such as that
            of dequantisation.
        power: of magnitudes, 1 or 2, of which the spectrum has the logarithm.

    Raises:
        ValueError: the order is not between 1 and the window.
    """

    to_bins: Tensor

    def __init__(
        self,
        bands: Tensor,
        window: int,
        hop: int,
        order: int,
        noise: float = 0.0,
        power: int = 1,
    ) -> None:
        super().__init__()
        if not 1 <= order < window:
            raise ValueError(f"`order` must be from 1 to {window - 1}, got {order}")
        inverse = _levelled(torch.linalg.pinv(bands.double().T), bands)  # (bins, mels)
        self.register_buffer("to_bins", inverse.float(), persistent=False)
        self.window, self.hop, self.order = window, hop, order
        self.noise, self.power = noise, power

    def extra_repr(self) -> str:
        return f"order={self.order}, bands={self.to_bins.shape[1]}, hop={self.hop}"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        filters = self.filters(context, z.shape[-1])
        x = torch.cat(list(self._solved_blocks([z], filters)), -1)
        return x, filters.log_scale[:, filters.rows].sum(1).to(z.dtype)

    def in_pieces(
        self, pieces: Iterable[Tensor], context: Tensor | None, length: int
    ) -> Iterator[Tensor]:
        """`forward` of a clip of `length` samples, of which z comes in pieces (B, 1, n)."""
        return self._solved_blocks(pieces, self.filters(context, length))

    def _solved_blocks(self, pieces: Iterable[Tensor], filters: "Filters") -> Iterator[Tensor]:
        """The samples (B, 1, n) of each block, one block after the other."""
        start, past = 0, filters.log_scale.new_zeros(len(filters.log_scale), self.order)
        run = loop(_LOOPS, "drive") if in_loops(past) else None
        for z in recut(pieces, _BLOCK) if run is None else pieces:
            rows = filters.rows[start : start + z.shape[-1]]
            driven = z[:, 0].double() * filters.log_scale[:, rows].exp()  # (B, n)
            if run is None:
                block = _solved(filters.coefficients[:, rows], driven, past)
            else:
                block = torch.cat([past, torch.empty_like(driven)], 1)
                run(array(filters.coefficients), array(rows), array(driven), array(block))
                block = block[:, self.order :]
            past = torch.cat([past, block], 1)[:, -self.order :]
            start += len(rows)
            yield block.to(z.dtype).unsqueeze(1)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        filters = self.filters(context, x.shape[-1])
        log_scale = filters.log_scale[:, filters.rows]
        z = (x[:, 0] - self._predicted(x[:, 0].double(), filters)) * (-log_scale).exp()
        return z.to(x.dtype).unsqueeze(1), -log_scale.sum(1).to(x.dtype)

    def log_scale(self, x: Tensor, context: Tensor | None) -> Tensor:
        filters = self.filters(context, x.shape[-1])
        return filters.log_scale[:, filters.rows].unsqueeze(1)

    def filters(self, context: Tensor | None, length: int) -> "Filters":
        """The filters of clips of `length` samples.

        Raises:
            ValueError: there are no frames, or fewer than the clip needs.
        """
        find = _outside_graphs if torch.compiler.is_compiling() else LinearPrediction._filters
        return find(self, context, length, in_loops(self.to_bins))

    @torch.no_grad()
    def _filters(self, context: Tensor | None, length: int, looped: bool) -> "Filters":
        correlation = self._autocorrelation(self.frames(context, length))  # (B, F, P + 1)
        frame = torch.arange(length, device=correlation.device) // self.hop
        frame = frame.clamp(max=correlation.shape[1] - 1)
        early = min(self.order, length)
        run = loop(_LOOPS, "find_filters") if looped else None
        coefficients, variances = _found(correlation, frame[:early], run)
        first, later = torch.arange(early).to(frame), early + frame[early:]
        return Filters(coefficients, variances.log() / 2, torch.cat([first, later]))

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
        """The autocorrelation of each frame from lag 0 on, (B, F, order + 1) float64."""
        bands = log_mel.double().transpose(1, 2).exp()
        bins = (bands @ self.to_bins.double().T).clamp_min(_LEAST**self.power)
        power = bins ** (2 / self.power) / (0.375 * self.window)  # of Hann's window, squared
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


# As a graph, a recursion of many small steps takes a minute to compile. The public decorator would
# import the compiler, which takes as long as torch itself, for those who never compile.
_outside_graphs = torch._disable_dynamo(LinearPrediction._filters)


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


def _found(
    correlation: Tensor, early: Tensor, run: Callable[..., None] | None
) -> tuple[Tensor, Tensor]:
    """Filters (B, E + F, P) and variances (B, E + F): first those of order 0, 1, ... E - 1.

    Args:
        correlation: (B, F, P + 1).
        early: the frames of the first E samples, of which these filters of lower order are.
        run: `recursions.find_filters`, or None for tensors.
    """
    order, shape = correlation.shape[2] - 1, (len(correlation), len(early) + correlation.shape[1])
    if run is not None:
        filters, errors = correlation.new_zeros(*shape, order), correlation.new_zeros(shape)
        run(array(correlation), array(early), array(filters), array(errors))
        return filters, errors
    coefficients, variances = [], []
    for m, (filter_, variance) in enumerate(predictors(correlation)):
        rows = early[m : m + 1] if m < len(early) else slice(None)
        if m < len(early) or m == order:
            oldest_first = filter_[:, rows].flip(-1)
            coefficients.append(F.pad(oldest_first, (order - m, 0)))
            variances.append(variance[:, rows])
    return torch.cat(coefficients, 1), torch.cat(variances, 1)


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


def _levelled(inverse: Tensor, bands: Tensor) -> Tensor:
    """The inverse of bands, (bins, mels), with their ends' level where the bands leave bins out.

    A spectrum says nothing of what is below its first or above its last band. Taken for silence,
    it would be predicted as if it were; so it is taken to be as loud as the nearest band.
    """
    covered = (bands > 0).any(1).nonzero().flatten()
    first, last = int(covered[0]), int(covered[-1])
    if first > 1:
        inverse[: int(bands[:, 0].argmax())] = inverse[int(bands[:, 0].argmax())]
    if last < len(bands) - 2:
        inverse[int(bands[:, -1].argmax()) + 1 :] = inverse[int(bands[:, -1].argmax())]
    return inverse


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
