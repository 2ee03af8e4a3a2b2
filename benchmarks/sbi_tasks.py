"""Four simulators with posteriors that can be drawn from: priors, simulators, references.

Two moons, Gaussian linear, Gaussian mixture and SLCP as in sbibm (Lueckmann et al., 2021,
arXiv:2101.04653). References are closed forms, rejection, or long chains for SLCP.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal, Uniform

CHAINS, STEPS = 2000, 3000  # of SLCP's random walks


@dataclass(frozen=True)
class Task:
    """A prior, a simulator of parameters (B, D), and draws of the true posterior given x."""

    prior: Distribution
    simulate: Callable[[Tensor], Tensor]
    reference: Callable[[Tensor, int], Tensor]


def box(low: float, high: float, n: int) -> Distribution:
    return Independent(Uniform(low * torch.ones(n), high * torch.ones(n)), 1)


# Two moons: an arc around a point that depends on |theta_1 + theta_2|.


def _arc(n: int) -> Tensor:
    angle = (torch.rand(n) - 0.5) * math.pi
    radius = 0.1 + 0.01 * torch.randn(n)
    return torch.stack([radius * angle.cos() + 0.25, radius * angle.sin()], 1)


def two_moons(theta: Tensor) -> Tensor:
    total, difference = theta.sum(1), theta[:, 1] - theta[:, 0]
    return _arc(len(theta)) + torch.stack([-total.abs(), difference], 1) / math.sqrt(2)


def two_moons_posterior(x: Tensor, n: int) -> Tensor:
    """The arc's point is drawn, and theta follows up to a sign; what the prior excludes leaves."""
    kept: list[Tensor] = []
    while sum(map(len, kept)) < n:
        rest = (x - _arc(10 * n)) * math.sqrt(2)
        sign = torch.randint(2, (len(rest),)) * 2 - 1
        total, difference = -rest[:, 0] * sign, rest[:, 1]
        theta = torch.stack([(total - difference) / 2, (total + difference) / 2], 1)
        kept.append(theta[(rest[:, 0] <= 0) & (theta.abs() <= 1).all(1)])
    return torch.cat(kept)[:n]


# Gaussian linear, ten numbers: conjugate.

VARIANCE = 0.1


def linear(theta: Tensor) -> Tensor:
    return theta + math.sqrt(VARIANCE) * torch.randn_like(theta)


def linear_posterior(x: Tensor, n: int) -> Tensor:
    return x / 2 + math.sqrt(VARIANCE / 2) * torch.randn(n, len(x))


# Gaussian mixture: two components of the same mean and deviations of 1 and 0.1.


def mixture(theta: Tensor) -> Tensor:
    wide = torch.rand(len(theta), 1) < 0.5
    return theta + torch.where(wide, 1.0, 0.1) * torch.randn_like(theta)


def mixture_posterior(x: Tensor, n: int) -> Tensor:
    theta = mixture(x.expand(10 * n, -1))
    return theta[(theta.abs() <= 10).all(1)][:n]


# SLCP: four points of a Gaussian whose moments are simple functions of five numbers.


def slcp(theta: Tensor) -> Tensor:
    first, second, correlation = theta[:, 2] ** 2, theta[:, 3] ** 2, theta[:, 4].tanh()
    u, v = torch.randn(2, len(theta), 4)
    mixed = correlation[:, None] * u + (1 - correlation[:, None] ** 2).sqrt() * v
    x = torch.stack([first[:, None] * u, second[:, None] * mixed], 2)
    return (x + theta[:, None, :2]).flatten(1)


def slcp_log_likelihood(theta: Tensor, x: Tensor) -> Tensor:
    points = x.view(4, 2) - theta[:, None, :2]
    first, second = theta[:, 2:3] ** 2, theta[:, 3:4] ** 2
    rest = (1 - theta[:, 4:5].tanh() ** 2).clamp(min=1e-12)
    u, v = points[..., 0] / first, points[..., 1] / second
    square = (u**2 - 2 * theta[:, 4:5].tanh() * u * v + v**2) / rest
    score = (-square / 2 - first.log() - second.log() - rest.log() / 2).sum(1)
    return score.nan_to_num(-torch.inf, -torch.inf)  # deviations of 1e-14: nothing is so near


def slcp_posterior(x: Tensor, n: int) -> Tensor:
    """Random walks on |theta_3| and |theta_4|, from the best of many draws; signs are free."""
    theta = 6 * torch.rand(500_000, 5) - 3
    theta[:, 2:4] = theta[:, 2:4].abs()
    weights = slcp_log_likelihood(theta, x).softmax(0)
    state = theta[torch.multinomial(weights, CHAINS, replacement=True)]
    scale = torch.linalg.cholesky(state.T.cov() + 1e-4 * torch.eye(5)) * 2.38 / math.sqrt(5)
    score = slcp_log_likelihood(state, x)
    for step in range(STEPS):
        size = (1.0, 0.3, 0.1)[step % 3]
        new = state + size * torch.randn_like(state) @ scale.T
        inside = (new.abs() <= 3).all(1) & (new[:, 2:4] > 0).all(1)
        proposed = torch.where(inside, slcp_log_likelihood(new, x), -torch.inf)
        accept = torch.rand(CHAINS).log() < proposed - score
        state, score = (
            torch.where(accept[:, None], new, state),
            torch.where(accept, proposed, score),
        )
    state[:, 2:4] *= torch.randint(2, (CHAINS, 2)) * 2 - 1
    return state[torch.randperm(CHAINS)[:n]]


TASKS = {
    "two moons": Task(box(-1, 1, 2), two_moons, two_moons_posterior),
    "Gaussian mixture": Task(box(-10, 10, 2), mixture, mixture_posterior),
    "SLCP": Task(box(-3, 3, 5), slcp, slcp_posterior),
    "Gaussian linear": Task(
        Independent(Normal(torch.zeros(10), torch.full((10,), math.sqrt(VARIANCE))), 1),
        linear,
        linear_posterior,
    ),
}
