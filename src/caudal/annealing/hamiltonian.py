"""Hamiltonian moves, which leave a density as it is, of many rows side by side."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from caudal.errors import InputError
from caudal.targets import LogDensity, log_density_of

LEAPS = 5
"""Leapfrog steps of a move, each of which takes one gradient of the density."""
_WANTED = 0.75  # share of accepted moves to aim at: near the optimum in many dimensions
_LONG, _SHORT = 1.4, 0.1  # times the step: the longest, and the shortest as a share of it
_LONGEST = 1e3  # steps; where everything is accepted, a longer one gains nothing


@dataclass
class Stride:
    """How far a move goes: a step that follows the share of moves that are accepted.

    Attributes:
        step: of the leapfrog, in units of `spread`.
        spread: about the standard deviation of each column, (D,) or a number.
        accepted: the share of accepted moves, the last time.
    """

    step: float
    spread: Tensor | float = 1.0
    accepted: float = 0.0

    @classmethod
    def of(cls, x: Tensor) -> "Stride":
        """A first guess for rows like x (N, D)."""
        return cls(0.5 * x.shape[1] ** -0.25).seen(x)

    def seen(self, x: Tensor) -> "Stride":
        """These moves, with the spread of rows x (N, D)."""
        self.spread = x.std(0).clamp(min=1e-6)
        return self

    def follow(self, accepted: float) -> None:
        """Makes the step longer or shorter, by how many moves were accepted."""
        self.accepted = accepted
        self.step = min(self.step * (1.15 if accepted > _WANTED else 0.85), _LONGEST)


@torch.no_grad()
def move(
    log_density: LogDensity,
    x: Tensor,
    stride: Stride,
    moves: int = 1,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Rows x (N, D) after Hamiltonian moves, which leave the density as it is: (N, D).

    Each is a chain of its own: a draw of momentum, `LEAPS` leapfrog steps, and a Metropolis
    decision. `stride` follows what is accepted. The length of a row's steps is drawn, uniformly in
    its logarithm over a factor of ten: where a density is as narrow as in the neck of a funnel,
    the steps that fit the rest of it are never accepted.
    Reference: Neal, MCMC using Hamiltonian dynamics, 2011, arXiv:1206.1901.

    Raises:
        InputError: the density cannot be differentiated.
        NumericalError: as `caudal.targets.log_density_of`.
    """
    log_p, slope = value_and_slope(log_density, x)
    like: Any = {"generator": generator, "dtype": x.dtype, "device": x.device}
    spread = torch.as_tensor(stride.spread).to(x)  # chains rest on the CPU, and move elsewhere
    for _ in range(moves):
        momentum = torch.randn(x.shape, **like)
        uniform = torch.rand((2, len(x)), **like)
        length = stride.step * (_LONG * _SHORT ** uniform[0]).unsqueeze(1)
        y, log_q, tilt, late = x, log_p, slope, momentum
        for _ in range(LEAPS):
            late = late + 0.5 * length * spread * tilt
            y = y + length * spread * late
            log_q, tilt = value_and_slope(log_density, y)
            late = late + 0.5 * length * spread * tilt
        energy = log_q - log_p - 0.5 * (late.square() - momentum.square()).sum(1)
        moved = uniform[1].log() < energy  # False for NaN: the row stays
        x, slope = torch.where(moved[:, None], y, x), torch.where(moved[:, None], tilt, slope)
        log_p = torch.where(moved, log_q, log_p)
        stride.follow(float(moved.float().mean()))
    return x


def value_and_slope(log_density: LogDensity, x: Tensor) -> tuple[Tensor, Tensor]:
    """Log-densities (N,) of rows x (N, D), and their gradients (N, D); 0 where these overflow.

    Raises:
        InputError: the density cannot be differentiated.
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        log_p = log_density_of(log_density, _finite(x))
        if not log_p.requires_grad:
            raise InputError(
                "the log-density has no gradient with respect to x: it must be computed by torch, "
                "without `detach` or NumPy"
            )
        (slope,) = torch.autograd.grad(log_p.sum(), x)
    return log_p.detach(), slope.nan_to_num(0.0, 0.0, 0.0)


def _finite(x: Tensor) -> Tensor:
    """Rows that a diverging move has carried off, brought back to where numbers are finite."""
    return x.nan_to_num(0.0, 1e18, -1e18).clamp(-1e18, 1e18)
