"""Densities as maps, by their CDFs: mixtures of logistics or Gaussians, and the histogram."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from caudal.elementwise.affine import log_scale
from caudal.elementwise.protocol import Elementwise, Scalar
from caudal.numerics import bisect

_APART = 0.5  # standard deviation of the component means at the start


@dataclass(frozen=True)
class Mixture(Elementwise):
    """z = Q(F(x)), F the CDF of a mixture and Q the quantile function of its kernel.

    If a causal net gives (logit weight, mean, raw log-scale) of each component and the base is the
    standard kernel, the conditionals p(x_t | x_<t) are exactly mixtures: a MADE MoG.
    F and 1 - F are kept as logarithms, so that both tails keep their digits. From z to x,
    bisection searches between the components' own quantiles.
    Components with equal parameters get equal gradients and would stay equal: start from
    `spread()`, not from zeros.
    """

    components: int = 10
    bound: float = 8.0  # bound and floor of each log-scale: see Affine
    floor: float | None = None

    @property
    def n_params(self) -> int:
        return 3 * self.components

    def spread(self) -> Tensor:
        """Parameters (P,) to start from: components apart, their mixture nearly the kernel.

        The means have deviation 1/2, and the scales keep the deviation of the whole mixture.
        """
        mean = torch.linspace(-1, 1, self.components)
        mean = mean - mean.mean()  # a single component stays at zero
        mean = mean * (_APART / mean.square().mean().sqrt().clamp(min=_APART))
        log_scale = 0.5 * torch.log1p(-mean.square().mean()).expand(self.components)
        return torch.cat([torch.zeros(self.components), mean, log_scale])

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        _, mean, log_scale = self._components(params)
        quantiles = mean + log_scale.exp() * z.unsqueeze(1)
        x = bisect(lambda x: self.inverse(x, params)[0], z, quantiles.amin(1), quantiles.amax(1))
        # One Newton step gives the digits that bisection left out, and the gradient (the solution
        # itself carries none) by the implicit function theorem.
        back, log_slope = self.inverse(x, params)
        x = x + (z - back) * log_slope.detach().neg().exp()
        return x, -self.inverse(x, params)[1]

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        log_weight, mean, log_scale = self._components(params)
        standard = (x.unsqueeze(1) - mean) * (-log_scale).exp()  # (B, C, *event)
        log_cdf = (log_weight + self._log_cdf(standard)).logsumexp(1)
        log_survival = (log_weight + self._log_cdf(-standard)).logsumexp(1)
        log_density = (log_weight + self._log_density(standard) - log_scale).logsumexp(1)
        z = self._quantile(log_cdf, log_survival)
        return z, log_density - self._log_density(z)

    def _components(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, mean, raw = params.unflatten(1, (3, self.components)).unbind(1)
        return logits.log_softmax(1), mean, log_scale(raw, self.bound, self.floor)

    @staticmethod
    @abstractmethod
    def _log_cdf(x: Tensor) -> Tensor:
        """Log-CDF of the kernel, which is symmetric: the log-survival is this at -x."""

    @staticmethod
    @abstractmethod
    def _log_density(x: Tensor) -> Tensor:
        """Log-density of the kernel."""

    @staticmethod
    @abstractmethod
    def _quantile(log_cdf: Tensor, log_survival: Tensor) -> Tensor:
        """Quantile function of the kernel, from the logarithms of both tails."""


@dataclass(frozen=True)
class MixtureLogistic(Mixture):
    """Mixture of logistics to a standard logistic: z = log F(x) - log(1 - F(x))."""

    @property
    def scalar(self) -> Scalar:
        floor = 0.0 if self.floor is None else self.floor
        return Scalar("logistics", (self.components, self.bound, floor))

    @staticmethod
    def _log_cdf(x: Tensor) -> Tensor:
        return F.logsigmoid(x)

    @staticmethod
    def _log_density(x: Tensor) -> Tensor:
        return F.logsigmoid(x) + F.logsigmoid(-x)

    @staticmethod
    def _quantile(log_cdf: Tensor, log_survival: Tensor) -> Tensor:
        return log_cdf - log_survival


@dataclass(frozen=True)
class MixtureGaussian(Mixture):
    """Mixture of Gaussians to a standard normal: the conditionals of MADE MoG (MAF, 2017)."""

    @staticmethod
    def _log_cdf(x: Tensor) -> Tensor:
        return torch.special.log_ndtr(x)

    @staticmethod
    def _log_density(x: Tensor) -> Tensor:
        return -0.5 * x.square() - 0.5 * math.log(2 * math.pi)

    @staticmethod
    def _quantile(log_cdf: Tensor, log_survival: Tensor) -> Tensor:
        # The smaller of the two tails keeps its digits. Below the floor the map saturates at
        # |z| = 12.9 in float32, where the density of x stays exact, because z cancels from it.
        floor = math.log(torch.finfo(log_cdf.dtype).tiny) + 1
        smaller = torch.minimum(log_cdf, log_survival).clamp(min=floor)
        z = torch.special.ndtri(smaller.exp())
        return torch.where(log_cdf < log_survival, z, -z)


class _Bin(NamedTuple):
    """The bin an element falls in; everything in units of [0, 1]."""

    number: Tensor
    low: Tensor  # cumulated probability of the bins before
    log_share: Tensor  # log-probability of the bin


@dataclass(frozen=True)
class Histogram(Elementwise):
    """z = F(x) on [-1, 1], F the CDF (from -1 to 1) of a density flat in each of K equal bins.

    The parameters are K logits. With a uniform base on [-1, 1] the density in bin k is the softmax
    probability of k over the width of a bin, so the mass of a bin *is* the softmax: the classical
    categorical output as a flow. Values outside [-1, 1] are left as they are, at density zero.
    Reference: WaveNet (van den Oord et al., 2016), arXiv:1609.03499.
    """

    bins: int = 256

    @property
    def n_params(self) -> int:
        return self.bins

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        log_share, ends = _cumulated(params)
        # Only bins with some mass are reached: no other is ever drawn.
        least = torch.finfo(z.dtype).eps / 2
        unit = ((z.clamp(-1, 1) + 1) / 2).clamp(least, 1 - least)
        index = (unit.unsqueeze(1) >= ends[:, :-1]).sum(1, keepdim=True)
        piece = _take(index, ends, log_share)
        within = ((unit - piece.low) * (-piece.log_share).exp()).clamp(0, 1)
        x = 2 * (piece.number + within) / self.bins - 1
        return self._inside(z, x, -self._log_slope(piece))

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        log_share, ends = _cumulated(params)
        place = (x.clamp(-1, 1) + 1) / 2 * self.bins
        index = place.detach().nan_to_num().floor().clamp(0, self.bins - 1).long().unsqueeze(1)
        piece = _take(index, ends, log_share)
        z = 2 * (piece.low + (place - piece.number) * piece.log_share.exp()) - 1
        return self._inside(x, z, self._log_slope(piece))

    def _log_slope(self, piece: _Bin) -> Tensor:
        """Log dz/dx: the log-density of the histogram less that of the uniform."""
        return piece.log_share + math.log(self.bins)

    @staticmethod
    def _inside(value: Tensor, mapped: Tensor, log_slope: Tensor) -> tuple[Tensor, Tensor]:
        inside = value.abs() <= 1
        return torch.where(inside, mapped, value), torch.where(inside, log_slope, 0.0)

    @property
    def scalar(self) -> Scalar:
        return Scalar("histogram", (self.bins,))


def _cumulated(params: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities, and their cumulated sums up to the end of each bin, the last one 1."""
    log_share = params.log_softmax(1)
    ends = log_share.exp().cumsum(1)
    return log_share, ends / ends[:, -1:]


def _take(index: Tensor, ends: Tensor, log_share: Tensor) -> _Bin:
    share = log_share.gather(1, index)
    low = ends.gather(1, index) - share.exp()
    return _Bin(index.squeeze(1).to(ends.dtype), low.squeeze(1), share.squeeze(1))
