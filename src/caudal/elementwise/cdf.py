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
    F and 1 - F are kept as logarithms, and the slope is a ratio of hazards (density over tail), so
    that both tails keep their digits as far out as numbers go. From z to x, bisection searches
    between the components' own quantiles.
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
        below = log_weight + self._log_cdf(standard)
        above = log_weight + self._log_cdf(-standard)
        log_cdf, log_survival = below.logsumexp(1), above.logsumexp(1)
        z = self._quantile(log_cdf, log_survival)
        # dz/dx = f(x) / f(z), both divided by the smaller tail, which x and z share: far out the
        # densities are too small for their difference to have a digit left.
        left = log_cdf < log_survival
        tail = torch.minimum(log_cdf, log_survival)
        none = tail == -torch.inf  # squares overflow: z is infinite
        side = left.unsqueeze(1)
        share = torch.where(side, below, above) - tail.where(~none, 0.0).unsqueeze(1)
        hazard = self._log_hazard(torch.where(side, -standard, standard)) - log_scale
        log_slope = (share + hazard).logsumexp(1) - self._log_hazard(torch.where(left, -z, z))
        return z, torch.where(none, 0.0, log_slope)

    def _components(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, mean, raw = params.unflatten(1, (3, self.components)).unbind(1)
        return logits.log_softmax(1), mean, log_scale(raw, self.bound, self.floor)

    @staticmethod
    @abstractmethod
    def _log_cdf(x: Tensor) -> Tensor:
        """Log-CDF of the kernel, which is symmetric: the log-survival is this at -x."""

    @staticmethod
    @abstractmethod
    def _log_hazard(x: Tensor) -> Tensor:
        """Log-density of the kernel less its log-survival."""

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
    def _log_hazard(x: Tensor) -> Tensor:
        return F.logsigmoid(x)

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
    def _log_hazard(x: Tensor) -> Tensor:
        right = 0.5 * math.log(2 / math.pi) - torch.special.erfcx(x.clamp(min=0) * 0.5**0.5).log()
        left = x.clamp(max=0)  # where erfcx would overflow
        log_density = -0.5 * left.square() - 0.5 * math.log(2 * math.pi)
        return torch.where(x > 0, right, log_density - torch.special.log_ndtr(-left))

    @staticmethod
    def _quantile(log_cdf: Tensor, log_survival: Tensor) -> Tensor:
        # The smaller of the two tails keeps its digits.
        tail = torch.minimum(log_cdf, log_survival)
        z = torch.where(tail > _FAR, _near_quantile(tail), _far_quantile(tail))
        return torch.where(log_cdf < log_survival, z, -z)


_FAR = -50.0  # a log-probability whose quantile two steps of Newton find from its asymptote


def _near_quantile(log_cdf: Tensor) -> Tensor:
    """The standard normal quantile of a log-probability above `_FAR`."""
    return torch.special.ndtri(log_cdf.clamp(min=_FAR).exp())


def _far_quantile(log_cdf: Tensor) -> Tensor:
    """The standard normal quantile -t of a log-probability l below `_FAR`, by Newton's method.

    log Phi(-t) = -t^2 / 2 - log t - log(2 pi) / 2 + log(1 - 1 / t^2 + ...), so that
    t^2 = -2 l - log(2 pi) - log(-2 l) at first.
    """
    log_cdf = log_cdf.clamp(max=_FAR)
    value = log_cdf.detach()
    t = (-2 * value - math.log(2 * math.pi) - (-2 * value).log()).sqrt()
    t = _newton(t, value)
    t = _newton(t, log_cdf)  # with the gradient of log_cdf, by the implicit function theorem
    return torch.where(log_cdf == -torch.inf, -torch.inf, -t)


def _newton(t: Tensor, log_cdf: Tensor) -> Tensor:
    """A step towards log Phi(-t) = log_cdf, whose slope is minus the hazard."""
    hazard = MixtureGaussian._log_hazard(t).exp()
    return t + (torch.special.log_ndtr(-t) - log_cdf) / hazard


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
