"""Mixtures of logistics or Gaussians as maps: by the mixture's CDF to a standard variable."""

import math
from abc import abstractmethod
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from caudal.elementwise.affine import log_scale
from caudal.elementwise.protocol import Elementwise, Scalar
from caudal.numerics import bisect

_APART = 0.5  # deviation of the means at the start


@dataclass(frozen=True)
class Mixture(Elementwise):
    """z = Q(F(x)), F the CDF of a mixture and Q the quantile function of its kernel.

    A causal net that gives (logit weight, mean, raw log-scale) of each component, with a standard
    kernel as base, has exactly the mixtures as conditionals p(x_t | x_<t): a MADE MoG.
    Everything is kept as logarithms of F and 1 - F, so that both tails keep their digits.
    The way back to x is found by bisection between the components' own quantiles.
    Components with the same parameters get the same gradients and stay the same: start from
    `spread()`, not from zeros.
    """

    components: int = 10
    bound: float = 8.0  # of each log-scale, and its floor: see Affine
    floor: float | None = None

    @property
    def n_params(self) -> int:
        return 3 * self.components

    def spread(self) -> Tensor:
        """Parameters (P,) to start from: components apart, their mixture nearly the kernel.

        The means have deviation 1/2, and the scales are what leaves the mixture's own as it was.
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
        # One Newton step: the digits bisection left out, and the gradient (the solution itself
        # carries none) by the implicit function theorem.
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

    @property
    def scalar(self) -> Scalar | None:
        return None

    def in_tails(self, x: Tensor) -> None:
        return None

    def _components(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, mean, raw = params.unflatten(1, (3, self.components)).unbind(1)
        return logits.log_softmax(1), mean, log_scale(raw, self.bound, self.floor)

    @staticmethod
    @abstractmethod
    def _log_cdf(x: Tensor) -> Tensor:
        """Of the kernel, which is symmetric: the log-survival is this at -x."""

    @staticmethod
    @abstractmethod
    def _log_density(x: Tensor) -> Tensor:
        """Of the kernel."""

    @staticmethod
    @abstractmethod
    def _quantile(log_cdf: Tensor, log_survival: Tensor) -> Tensor:
        """Of the kernel, from both logarithms."""


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
        # The smaller of the two tails keeps its digits; below the floor the map saturates at
        # |z| = 12.9 in float32, where the density of x stays exact (z cancels from it).
        floor = math.log(torch.finfo(log_cdf.dtype).tiny) + 1
        smaller = torch.minimum(log_cdf, log_survival).clamp(min=floor)
        z = torch.special.ndtri(smaller.exp())
        return torch.where(log_cdf < log_survival, z, -z)
