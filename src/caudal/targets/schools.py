"""Eight schools: the posterior of a small hierarchical model, which has an exact answer."""

import math
from typing import Any

import torch
from torch import Tensor

from caudal.targets.quadrature import Grid
from caudal.targets.target import Target

_EFFECTS = (28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0)
_ERRORS = (15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0)
_LOG_2PI = math.log(2 * math.pi)


class EightSchools(Target):
    """p(mu, log tau, eta | y) of y_j ~ N(mu + tau eta_j, s_j^2), eta_j ~ N(0, 1), j = 1..8.

    mu ~ N(0, 5^2), tau ~ half-Cauchy(5). t is the log of the joint density of y and
    x = (mu, log tau, eta), so that Z is the evidence. Given tau everything is Gaussian: log Z,
    samples and the first two means are by quadrature over log tau.
    Reference: Rubin, Estimation in parallel randomized experiments, 1981; the parameters as in
    Gelman et al., Bayesian Data Analysis.
    """

    name = "eight-schools"
    about = "the posterior of a hierarchical model of eight schools, mu, log tau and eight effects"
    features = 10
    scale = 5.0

    def __init__(self) -> None:
        self._y = torch.tensor(_EFFECTS, dtype=torch.float64)
        self._s = torch.tensor(_ERRORS, dtype=torch.float64)
        log_tau = torch.linspace(-25, 12, 1 << 14, dtype=torch.float64)
        *_, log_evidence = self._given(log_tau)
        self._grid = Grid(log_tau, _half_cauchy(log_tau) + log_evidence)
        self.log_z = self._grid.log_z

    def __call__(self, x: Tensor) -> Tensor:
        mu, log_tau, eta = x[:, :1], x[:, 1], x[:, 2:]
        y, s = self._y.to(x), self._s.to(x)
        prior = -0.5 * (mu[:, 0] / 5).square() - math.log(5) + _half_cauchy(log_tau)
        prior = prior - 0.5 * eta.square().sum(1)
        theta = mu + log_tau.clamp(max=40).exp().unsqueeze(1) * eta
        fit = -0.5 * ((y - theta) / s).square().sum(1) - s.log().sum()
        return prior + fit - 0.5 * 17 * _LOG_2PI

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Tau from the grid, then mu given tau, then eta given both."""
        like: Any = {"generator": generator, "dtype": torch.float64}
        log_tau = self._grid.sample(n, generator)
        precision, mean, _ = self._given(log_tau)
        mu = mean + torch.randn(n, **like) / precision.sqrt()
        tau = log_tau.exp().unsqueeze(1)
        each = 1 + (tau / self._s).square()  # precision of eta_j
        centre = tau * (self._y - mu.unsqueeze(1)) / self._s.square() / each
        eta = centre + torch.randn(n, 8, **like) / each.sqrt()
        return torch.cat([mu.unsqueeze(1), log_tau.unsqueeze(1), eta], 1).float()

    def _given(self, log_tau: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The precision and the mean of mu given tau, and log p(y | tau), each (G,)."""
        variance = self._s.square() + log_tau.exp().square().unsqueeze(1)  # of y_j given mu
        precision = 1 / 25 + (1 / variance).sum(1)
        mean = (self._y / variance).sum(1) / precision
        squares = (self._y.square() / variance).sum(1) - precision * mean.square()
        log_det = variance.log().sum(1) + math.log(25) + precision.log()
        return precision, mean, -0.5 * (squares + log_det + 8 * _LOG_2PI)


def _half_cauchy(log_tau: Tensor) -> Tensor:
    """The log-density of log tau if tau is half-Cauchy(5): with the Jacobian of the logarithm."""
    u = log_tau - math.log(5)
    return math.log(2 / math.pi) + u - torch.logaddexp(torch.zeros_like(u), 2 * u)
