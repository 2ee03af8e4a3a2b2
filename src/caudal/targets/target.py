"""The protocol of a target: a density that is known up to its constant."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor

from caudal.errors import InputError, NumericalError

LogDensity = Callable[[Tensor], Tensor]
"""Log-densities (N,) of x (N, D) in nats, up to a constant that is the same for all x."""

_SHOWN = 4  # numbers of a row in a message


class Target(ABC):
    """A density p(x) = exp(t(x)) / Z over vectors x (D,), of which t is known.

    Calling a target gives t (N,) in nats of rows x (N, D), in the precision and on the device of
    x; it can be differentiated.

    Attributes:
        name: in `caudal.targets.TARGETS`.
        about: what it is, in words.
        features: D.
        scale: the standard deviation of a broad Gaussian around 0 that covers it.
        log_z: log Z = log of the integral of exp(t), in nats; None where that is not known.
        mean: E[x], (D,) in float64; None where it is not known.
        std: the standard deviations of the columns, (D,) in float64; None where not known.
    """

    name: ClassVar[str] = ""
    about: ClassVar[str] = ""
    features: int
    scale: float = 1.0
    log_z: float | None = None
    mean: Tensor | None = None
    std: Tensor | None = None

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor: ...

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """N exact, independent samples (n, D) on the CPU.

        Raises:
            InputError: exact samples of this target are not known.
        """
        raise InputError(f"{self.name}: exact samples are not known")

    @property
    def samples_exactly(self) -> bool:
        """Whether `sample` gives exact samples."""
        return type(self).sample is not Target.sample

    def moved(self, x: Tensor) -> Tensor:
        """The rows x (N, D), each by a random symmetry that leaves the density as it is."""
        return x

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.features} dimensions)"


def log_density_of(density: LogDensity, x: Tensor) -> Tensor:
    """Log-densities (N,) of rows x (N, D) by a function that may be a user's own, checked.

    -inf stands for a density of 0.

    Raises:
        InputError: it does not give one number for each row.
        NumericalError: one is NaN or +inf; says of which row.
    """
    log_p = density(x)
    if not isinstance(log_p, Tensor) or log_p.shape != x.shape[:1]:
        what = f"shape {tuple(log_p.shape)}" if isinstance(log_p, Tensor) else type(log_p).__name__
        raise InputError(
            f"a log-density must be a tensor of one number a row, got {what} for {len(x)} rows"
        )
    wrong = log_p.isnan() | (log_p == torch.inf)
    if wrong.any():
        raise NumericalError(f"the log-density is {_first(log_p, wrong, x)}")
    return log_p


def refuse_outside(log_p: Tensor, x: Tensor) -> None:
    """Refuses log-densities (N,) of -inf, where a divergence would be infinite.

    Raises:
        NumericalError: says of which row.
    """
    outside = log_p == -torch.inf
    if outside.any():
        raise NumericalError(
            f"the log-density is {_first(log_p, outside, x)}, where the flow draws samples: "
            f"give the flow the support of the density, by `caudal.bijections.Support`"
        )


def _first(log_p: Tensor, wrong: Tensor, x: Tensor) -> str:
    """The value and the place of the first row that is wrong, in words."""
    row = int(wrong.nonzero()[0, 0])
    numbers = ", ".join(f"{value:.6g}" for value in x[row].flatten()[:_SHOWN].tolist())
    more = ", ..." if x[row].numel() > _SHOWN else ""
    among = f"row {row + 1} of {len(x)}; {int(wrong.sum())} such rows"
    return f"{float(log_p.detach()[row])} at x = [{numbers}{more}] ({among})"
