"""Targets whose samples are transformed Gaussians: the banana, the funnel, forty Gaussians."""

import math

import torch
from torch import Tensor

from caudal.targets.target import Target

_LOG_2PI = math.log(2 * math.pi)


class Banana(Target):
    """t = -x1^2 / (2 s^2) - (x2 - b (x1^2 - s^2))^2 / 2, with s = 2 and b = 1/4.

    So x1 ~ N(0, s^2), and x2 ~ N(b (x1^2 - s^2), 1) given x1. log Z = log(2 pi s); both means are
    0, the variances s^2 and 1 + 2 b^2 s^4.
    Reference: Haario, Saksman, Tamminen, Adaptive proposal distribution for random walk Metropolis
    algorithm, 1999.
    """

    name = "banana"
    about = "a bent Gaussian in the plane"
    features = 2
    scale = 3.0
    _spread, _bend = 2.0, 0.25

    def __init__(self) -> None:
        s, b = self._spread, self._bend
        self.log_z = _LOG_2PI + math.log(s)
        self.mean = torch.zeros(2, dtype=torch.float64)
        self.std = torch.tensor([s, math.sqrt(1 + 2 * b**2 * s**4)], dtype=torch.float64)

    def __call__(self, x: Tensor) -> Tensor:
        first, second = x.unbind(1)
        straight = second - self._bend * (first.square() - self._spread**2)
        return -0.5 * ((first / self._spread).square() + straight.square())

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        first, second = torch.randn(2, n, generator=generator)
        first = self._spread * first
        return torch.stack([first, second + self._bend * (first**2 - self._spread**2)], 1)


class Funnel(Target):
    """Neal's funnel in ten dimensions: x1 ~ N(0, 3^2), x_i ~ N(0, e^x1) for i = 2..10.

    It is normalised, log Z = 0. The means are 0, the standard deviations 3 and e^(9/4).
    Reference: Neal, Slice sampling, 2003.
    """

    name = "funnel"
    about = "Neal's funnel, nine columns whose width is the exponential of the first"
    features = 10
    scale = 3.0
    log_z = 0.0

    def __init__(self) -> None:
        self.mean = torch.zeros(10, dtype=torch.float64)
        self.std = torch.tensor([3.0, *[math.exp(9 / 4)] * 9], dtype=torch.float64)

    def __call__(self, x: Tensor) -> Tensor:
        v, rest = x[:, 0], x[:, 1:]
        n = rest.shape[1]
        neck = -0.5 * (v / 3).square() - math.log(3)
        mouth = -0.5 * (rest.square().sum(1) * (-v).exp() + n * v)
        return neck + mouth - 0.5 * (n + 1) * _LOG_2PI

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        noise = torch.randn(n, self.features, generator=generator)
        v = 3 * noise[:, :1]
        return torch.cat([v, (v / 2).exp() * noise[:, 1:]], 1)


class FortyGaussians(Target):
    """The mean of 40 Gaussian densities in the plane, with means uniform in [-40, 40]^2.

    Each has the standard deviation log(1 + e) = 1.313. It is normalised, log Z = 0. The means are
    those of the reference: draws of torch's generator with the seed 0.
    Reference: Flow annealed importance sampling bootstrap (Midgley et al., 2023),
    arXiv:2208.01893.
    """

    name = "forty-gaussians"
    about = "40 Gaussians in the plane, far from each other"
    features = 2
    scale = 30.0
    log_z = 0.0
    width = math.log(1 + math.e)

    def __init__(self) -> None:
        uniform = torch.rand(40, 2, generator=torch.Generator().manual_seed(0))
        self.centres = 80 * (uniform.double() - 0.5)
        self.mean = self.centres.mean(0)
        self.std = (self.centres.var(0, correction=0) + self.width**2).sqrt()

    def __call__(self, x: Tensor) -> Tensor:
        z = (x.unsqueeze(1) - self.centres.to(x)) / self.width  # (N, 40, 2)
        return (-0.5 * z.square().sum(2)).logsumexp(1) - math.log(40 * 2 * math.pi * self.width**2)

    def nearest(self, x: Tensor) -> Tensor:
        """The number of the mode that is closest to each of x (N, 2): (N,)."""
        return torch.cdist(x, self.centres.to(x)).argmin(1)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        mode = torch.randint(40, (n,), generator=generator)
        noise = torch.randn(n, 2, generator=generator)
        return (self.centres[mode] + self.width * noise.double()).float()
