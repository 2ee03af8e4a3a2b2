"""Sound given the spectra of frames that have begun: what they say of the samples to come."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from caudal.bijections.prediction import Filters, LinearPrediction, Prediction, banded

_STEPS = 2  # Gauss-Newton steps
_NUMBERS = 1 << 22  # numbers of a Jacobian at a time, on the way to the noise
_CURVED = 2.0  # deviation of a band that is not linear, in its variance before
_LEAST = 1e-9  # magnitude of a bin


class SpectralUpdate(Prediction):
    """x = m + L z in blocks of a frame: m, L from the sound before and from two open frames.

    Windows overlap: when a block begins, much of what two frames see is known, and their spectra
    say how it goes on. Before, a block and what follows are Gaussian, x = x_0 + H e with e ~ N(0,
    1), by `prior`. The magnitudes b_k(x) of the bands of the two frames that end next, divided by
    those of the context, are measurements of it: 1, but for an error of deviation `deviation`.
    Two steps of Gauss and Newton find the mode of e given both; the inverse of the Hessian there
    is its covariance. The first `hop` samples have the mean m and the factor L, lower triangular:
    the measurement update of an iterated extended Kalman filter.

    m and L depend on earlier blocks alone. So the Jacobian is triangular, with log|det dx/dz| =
    sum_t log L_tt, and both ways are exact, whatever the spectra. All blocks go to the noise at
    once, and to the sound one after the other. Frames that are not whole within the sound say
    nothing. Nothing is learned; all is computed in float64.
    References: the update: The iterated Kalman filter update as a Gauss-Newton method (Bell,
    Cathey, 1993); sound from magnitudes, frame after frame: Real-time signal estimation from
    modified short-time Fourier transform magnitude spectra (Zhu, Beauregard, Wyse, 2007).

    Args:
        prior: the linear prediction by the same spectrum.
        bands: the weight of each bin of the spectrum in each band, (window // 2 + 1, mels).
        deviation: relative error of the magnitude of a band.
    """

    bands: Tensor
    shape: Tensor

    def __init__(self, prior: LinearPrediction, bands: Tensor, deviation: float = 0.2) -> None:
        super().__init__()
        self.prior, self.deviation, self.hop = prior, deviation, prior.hop
        self.register_buffer("bands", bands.float(), persistent=False)
        self.register_buffer("shape", torch.hann_window(prior.window), persistent=False)
        before = prior.window // 2 - self.hop // 2
        after = prior.window - self.hop - before
        self.back = -(-after // self.hop)  # frames from the one that ends first to the block
        self.seen = self.back * self.hop + before  # samples before a block that frames see
        self.first = -(-before // self.hop)  # the first frame that is whole within the sound
        ends = self.hop + after - self.back * self.hop  # of frames, after the block's beginning
        self.ends = (ends, ends + self.hop)

    def extra_repr(self) -> str:
        return f"deviation={self.deviation}, {self.prior}"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        length = z.shape[-1]
        spectra = self._told(context, length)
        noise = _in_blocks(z[:, 0].double(), self.hop)
        past, blocks, slopes = noise.new_zeros(len(z), self.seen), [], []
        for index, block in enumerate(noise.unbind(1)):
            mean, factor = self._given(past, spectra.at(index))
            x = mean + (factor @ block.unsqueeze(-1)).squeeze(-1)
            past = torch.cat([past, x], 1)[:, -self.seen :]
            blocks.append(x)
            slopes.append(factor.diagonal(dim1=1, dim2=2))
        x, log_slope = torch.cat(blocks, 1), torch.cat(slopes, 1).log()
        return x[:, None, :length].to(z.dtype), log_slope[:, :length].sum(1).to(z.dtype)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, log_slope = self._inverted(x, context)
        return z.to(x.dtype), -log_slope.sum((1, 2)).to(x.dtype)

    def log_scale(self, x: Tensor, context: Tensor | None) -> Tensor:
        return self._inverted(x, context)[1]

    def _inverted(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """The noise z of sounds x and log dx/dz, both (B, 1, T) float64."""
        batch, _, length = x.shape
        spectra = self._told(context, length)
        wide = F.pad(x[:, 0].double(), (self.seen, -length % self.hop))
        windows = wide.unfold(1, self.seen + self.hop, self.hop)  # (B, N, seen + hop)
        n = max(1, _NUMBERS // (batch * self.prior.window * self.bands.shape[1]))
        z, slopes = [], []
        for start in range(0, windows.shape[1], n):
            some = slice(start, start + n)
            past, block = windows[:, some].flatten(0, 1).split([self.seen, self.hop], 1)
            mean, factor = self._given(past, spectra.at(some))
            apart = (block - mean).unsqueeze(-1)
            drawn = torch.linalg.solve_triangular(factor, apart, upper=False)
            z.append(drawn.view(batch, -1))
            slopes.append(factor.diagonal(dim1=1, dim2=2).reshape(batch, -1))
        both = torch.cat(z, 1), torch.cat(slopes, 1).log()
        noise, log_slope = (part[:, None, :length] for part in both)
        return noise, log_slope

    @torch.no_grad()
    def _told(self, context: Tensor | None, length: int) -> "_Told":
        """What the context says of each block of clips of `length` samples."""
        filters = self.prior.filters(context, length)
        frames = self.prior.frames(context, length).double().exp()  # (B, mels, F)
        count = -(-length // self.hop)
        frames = frames.expand(-1, -1, count) if frames.shape[-1] == 1 else frames
        index = torch.arange(count, device=frames.device)[:, None] - self.back
        index = index + torch.arange(2, device=frames.device)  # (N, 2)
        begins = torch.arange(count, device=frames.device)[:, None] * self.hop
        ends = begins + torch.tensor(self.ends, device=frames.device)
        whole = (index >= self.first) & (ends <= length)
        bands = frames[..., index.clamp(0, count - 1)].permute(0, 2, 3, 1)  # (B, N, 2, mels)
        # Noise that is in the sound, and not in its spectrum: bins of Rayleigh's law.
        power = math.pi / 4 * self.prior.noise * self.shape.double().square().sum()
        error = power.sqrt() * self.bands.double().sum(0) / bands
        variances = self.deviation**2 + error.square()
        variances = variances.where(whole[:, :, None], math.inf)
        steps = torch.arange(self.ends[1], device=frames.device)
        positions = (begins + steps).clamp(max=length - 1)
        return _Told(filters, filters.rows[positions], bands, variances)

    def _given(self, past: Tensor, told: "_Given") -> tuple[Tensor, Tensor]:
        """The mean (R, hop) and factor (R, hop, hop) of blocks, given `seen` samples before."""
        start, spread = _prior(told.coefficients, told.scale, past[:, -self.prior.order :])
        e = torch.zeros_like(start)
        variances = told.variances
        for step in range(_STEPS):
            x = start + (spread @ e.unsqueeze(-1)).squeeze(-1)
            error, slopes = self._measured(torch.cat([past, x], 1), told.bands)
            slopes = spread.mT @ slopes  # (R, n, 2 mels), in e
            # Where a band is far from linear, or still far from what it should be, it says less.
            doubt = error if step else _CURVED * slopes.square().sum(1)
            variances = variances + doubt.square()
            weighted = slopes / variances.unsqueeze(1)
            hessian = weighted @ slopes.mT
            hessian.diagonal(dim1=1, dim2=2).add_(1.0)
            factor = torch.linalg.cholesky(hessian)
            # What is far too loud pulls no more than what is missing.
            pull = error.clamp_min(-1).unsqueeze(-1) + slopes.mT @ e.unsqueeze(-1)
            e = torch.cholesky_solve(weighted @ pull, factor).squeeze(-1)
        own = spread[:, : self.hop, : self.hop]
        covariance = torch.cholesky_inverse(factor)[:, : self.hop, : self.hop]
        mean = start[:, : self.hop] + (own @ e[:, : self.hop, None]).squeeze(-1)
        return mean, own @ torch.linalg.cholesky(covariance)

    def _measured(self, x: Tensor, bands: Tensor) -> tuple[Tensor, Tensor]:
        """What the bands of two frames lack (R, 2 mels), and their slopes in what is to come.

        Both are relative to `bands` (R, 2, mels). x: (R, seen + n), slopes: (R, n, 2 mels).
        """
        of_bins, shape = self.bands.double(), self.shape.double()
        spectra = torch.fft.rfft(x.unfold(1, self.prior.window, self.hop)[:, :2] * shape)
        magnitudes = spectra.abs()  # (R, 2, bins)
        turns = torch.view_as_real(spectra / magnitudes.clamp_min(_LEAST))
        slopes = []
        for frame, end in enumerate(self.ends):
            # d|X_j| / dx_t = Re(X_j / |X_j| exp(i w_j t)) shape_t
            cosines, sines = self._waves(end, x)
            real, imaginary = turns[:, frame, None].unbind(-1)
            of_each = (real * cosines - imaginary * sines) @ of_bins  # (R, end, mels)
            slopes.append(F.pad(of_each / bands[:, frame, None], (0, 0, 0, self.ends[1] - end)))
        error = 1 - magnitudes @ of_bins / bands
        return error.flatten(1), torch.cat(slopes, 2)

    def _waves(self, end: int, like: Tensor) -> tuple[Tensor, Tensor]:
        """Windowed cosines and sines of each bin, the last `end` samples: (end, bins) each."""
        window = self.prior.window
        steps = torch.arange(window - end, window).to(like)[:, None]
        turn = 2 * math.pi / window * steps * torch.arange(window // 2 + 1).to(like)
        shape = self.shape.to(like)[window - end :, None]
        return turn.cos() * shape, turn.sin() * shape


class _Given(NamedTuple):
    """What the context says of some blocks, a row each.

    Attributes:
        coefficients: of the filters of the samples that frames see, (R, n, order).
        scale: the deviation of their errors, (R, n).
        bands: magnitudes of two frames, (R, 2, mels).
        variances: of these measurements, infinite where there is none, (R, 2 mels).
    """

    coefficients: Tensor
    scale: Tensor
    bands: Tensor
    variances: Tensor


class _Told(NamedTuple):
    """What the context says of all blocks.

    Attributes:
        filters: of all samples.
        rows: which of them each sample has that frames of a block see, (N, n).
        bands: magnitudes of two frames a block, (B, N, 2, mels).
        variances: of these measurements.
    """

    filters: Filters
    rows: Tensor
    bands: Tensor
    variances: Tensor

    def at(self, blocks: int | slice) -> _Given:
        """What the context says of one block, or of several."""
        some = slice(blocks, blocks + 1) if isinstance(blocks, int) else blocks
        rows = self.rows[some]
        return _Given(
            self.filters.coefficients[:, rows].flatten(0, 1),
            self.filters.log_scale[:, rows].flatten(0, 1).exp(),
            self.bands[:, some].flatten(0, 1),
            self.variances[:, some].flatten(0, 1).flatten(1),
        )


def _prior(coefficients: Tensor, scale: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
    """Samples x_0 + H e before any measurement: x_0 (R, n) and H (R, n, n), lower triangular."""
    order = past.shape[1]
    band = banded(coefficients)
    driven = (band[..., :order] @ past.unsqueeze(-1)).squeeze(-1)
    both = torch.cat([driven.unsqueeze(-1), torch.diag_embed(scale)], -1)
    solved: Tensor = torch.linalg.solve_triangular(
        -band[..., order:], both, upper=False, unitriangular=True
    )
    return solved[..., 0], solved[..., 1:]


def _in_blocks(z: Tensor, hop: int) -> Tensor:
    """(B, T) to (B, blocks, hop), with zeros at the end."""
    return F.pad(z, (0, -z.shape[1] % hop)).unflatten(1, (-1, hop))
