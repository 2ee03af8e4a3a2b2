"""Samples and log Z of a density by way of easier ones: sequential Monte Carlo."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from caudal.annealing.hamiltonian import Stride, move
from caudal.annealing.uncertainty import Uncertainty
from caudal.errors import InputError, NumericalError
from caudal.flow import Flow
from caudal.targets import LogDensity, log_density_of
from caudal.weights import effective_share

MOVES = 4
"""Hamiltonian moves at each temperature."""
_SHARE = 0.8  # effective share of the rows after the weights of a step
_MOST = 1000  # temperatures; a density that needs more is not covered by where it starts
_HALVINGS = 60  # how often an interval of temperatures is halved: float64 has no smaller ones


class Start(Protocol):
    """Where annealing starts: a density q that is easily sampled."""

    def draw(self, n: int, generator: torch.Generator | None) -> Tensor:
        """N samples (n, D)."""

    def log_prob(self, x: Tensor) -> Tensor:
        """Log-densities (N,) of rows x (N, D), which can be differentiated."""


@dataclass(frozen=True)
class Broad:
    """A Gaussian around 0, of one standard deviation in all dimensions.

    Attributes:
        like: a tensor of the device and the precision.
        features: D.
        scale: the standard deviation.
    """

    like: Tensor
    features: int
    scale: float

    def draw(self, n: int, generator: torch.Generator | None) -> Tensor:
        options: Any = {"dtype": self.like.dtype, "device": self.like.device}
        noise = torch.randn(n, self.features, generator=generator, **options)
        return self.scale * noise

    def log_prob(self, x: Tensor) -> Tensor:
        constant = self.features * (math.log(self.scale) + 0.5 * math.log(2 * math.pi))
        return -0.5 * (x / self.scale).square().sum(1) - constant


@dataclass(frozen=True)
class FromFlow:
    """A flow without context, whose log-density is exact."""

    flow: Flow

    def draw(self, n: int, generator: torch.Generator | None) -> Tensor:
        return self.flow.sample(n, generator=generator)

    def log_prob(self, x: Tensor) -> Tensor:
        return self.flow.log_prob(x)


@dataclass(frozen=True, eq=False)
class Annealed:
    """What annealing arrived at.

    Attributes:
        x: rows of the density (N, D), of equal weight; they depend on each other a little.
        log_z: estimate of log Z in nats.
        between_runs: how log Z differs between runs, a standard deviation
            (`caudal.annealing.Uncertainty`).
        bias: by how much log Z is too low, as far as rows that lag behind the temperatures, or lie
            where the start is 0, tell.
        settled: whether these are few, and do not lag clearly. If not, log Z may be off by more
            than its error tells, mostly too low.
        temperatures: the inverse temperatures beta that it went through, the last is 1.
        accepted: the share of accepted moves at the last of them.
    """

    x: Tensor
    log_z: float
    between_runs: float
    bias: float
    settled: bool
    temperatures: tuple[float, ...]
    accepted: float

    @property
    def log_z_error(self) -> float:
        """The standard error of log Z in nats: both together."""
        return math.hypot(self.between_runs, self.bias)


def anneal(
    log_density: LogDensity,
    start: Start | Flow,
    n: int,
    generator: torch.Generator | None = None,
    *,
    moves: int = MOVES,
    watch: Callable[[float], object] = lambda beta: None,
) -> Annealed:
    """Goes from q to p(x) = exp(t(x)) / Z through q^(1 - beta) exp(beta t), beta from 0 to 1.

    Each step takes beta as far as the weights (exp(t) / q)^(new beta - beta) leave four fifths of
    the rows effective, adds the log of their mean to log Z, resamples by them, and moves the rows
    by Hamiltonian Monte Carlo. The estimate of Z is unbiased but for the choice of the steps.
    From a flow that is nearly the density it takes one step, and is plain importance sampling.

    Args:
        log_density: t, in nats of rows (N, D); it must be differentiable by torch.
        start: q, a `Start`, or a flow without context.
        n: rows to carry along.
        generator: of all random numbers, on the device of the start.
        moves: at each temperature.
        watch: is called with each beta.

    References: Del Moral, Doucet, Jasra, Sequential Monte Carlo samplers, 2006; with flows:
    Arbel, Matthews, Doucet, Annealed flow transport Monte Carlo, 2021, arXiv:2102.07501.

    Raises:
        InputError: the density cannot be differentiated, or does not give one number a row.
        NumericalError: the density is NaN somewhere, or 0 wherever q has drawn.
    """
    if n < 2:
        raise InputError(f"`n` must be at least 2, got {n}")
    q = FromFlow(start) if isinstance(start, Flow) else start
    with torch.no_grad():
        x = q.draw(n, generator)
    stride, beta, betas, log_z = Stride.of(x), 0.0, [], 0.0
    ratio, uncertainty = _log_ratio(log_density, q, x), Uncertainty(n)
    while beta < 1:
        new = _next(ratio, beta, n)
        by, beta = new - beta, new
        step = by * ratio
        log_z += float(step.logsumexp(0)) - math.log(n)
        chosen = _resampled(step, generator)
        uncertainty.weighed(step, chosen)
        betas.append(beta)
        watch(beta)
        if len(betas) > _MOST:
            raise NumericalError(
                f"annealing is at {beta:.3g} of 1 after {_MOST} steps: give a larger `scale`, "
                f"that of a Gaussian that covers the density"
            )
        x, before = x[chosen], ratio[chosen]
        x = move(_between(log_density, q, beta), x, stride.seen(x), moves, generator)
        ratio = _log_ratio(log_density, q, x)
        uncertainty.moved(by, before, ratio)
    return Annealed(
        x,
        log_z,
        uncertainty.by_ancestors,
        uncertainty.bias,
        uncertainty.settled,
        tuple(betas),
        stride.accepted,
    )


@torch.no_grad()
def _log_ratio(log_density: LogDensity, q: Start, x: Tensor) -> Tensor:
    """Log p / q of rows x (N, D), in float64, (N,)."""
    log_p = log_density_of(log_density, x).double()
    ratio = log_p - q.log_prob(x).double()
    if not (ratio > -torch.inf).any():
        raise NumericalError(
            "the log-density is -inf at all rows that annealing starts from: give a `scale` of a "
            "Gaussian that covers the density"
        )
    return ratio


def _between(log_density: LogDensity, q: Start, beta: float) -> LogDensity:
    if beta == 1:
        return log_density
    return lambda x: (1 - beta) * q.log_prob(x) + beta * log_density_of(log_density, x)


def _next(ratio: Tensor, beta: float, n: int) -> float:
    """The furthest beta whose weights leave `_SHARE` of the rows effective."""
    least = min(_SHARE, 0.9 * float((ratio > -torch.inf).double().mean()))
    if effective_share((1 - beta) * ratio) >= least:
        return 1.0
    low, high = beta, 1.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        enough = effective_share((middle - beta) * ratio) >= least
        low, high = (middle, high) if enough else (low, middle)
    return high


def _resampled(log_w: Tensor, generator: torch.Generator | None) -> Tensor:
    """Which rows go on, each about as often as its weight says (systematic resampling): (N,)."""
    n = len(log_w)
    uniform = torch.rand((), generator=generator, dtype=log_w.dtype, device=log_w.device)
    levels = (torch.arange(n, dtype=log_w.dtype, device=log_w.device) + uniform) / n
    return torch.searchsorted(log_w.softmax(0).cumsum(0), levels).clamp(max=n - 1)
