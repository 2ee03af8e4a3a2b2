"""Increasing maps of one number, given parameters: the maps inside couplings and causal layers.

Parameters come on dimension 1: (B, P, *event) for values (B, *event). With all parameters zero
every map here is the identity, so a net whose last layer is zero starts a flow at the identity.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor


class Scalar(NamedTuple):
    """The name and constants by which compiled loops know a map (see `caudal.nets.fast`)."""

    name: str
    constants: tuple[float, ...]


class Elementwise(ABC):
    """An increasing map of each element, without weights of its own.

    A new map needs `n_params`, `forward` and `inverse`; `scalar` and `in_tails` are optional.
    """

    @property
    @abstractmethod
    def n_params(self) -> int:
        """The number of parameters of each element."""

    @abstractmethod
    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """From z to x: x and log dx/dz, both (B, *event)."""

    @abstractmethod
    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """From x to z: z and log dz/dx, both (B, *event)."""

    @property
    def scalar(self) -> Scalar | None:
        """The compiled twin of `forward`, or None if there is none."""
        return None

    def in_tails(self, x: Tensor) -> Tensor | None:
        """Mask of inputs in the linear tails, of the shape of x; None if the map has no tails."""
        return None

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Steered(Protocol):
    """A map of so many parameters for each element."""

    @property
    def n_params(self) -> int:
        """The number of parameters of each element."""


def check_params(params: Tensor, elementwise: Steered, values: Tensor) -> None:
    """Refuses parameters of the wrong shape: broadcasting would make log-dets silently wrong.

    Raises:
        ValueError: params are not (B, P, *event) for values (B, *event).
    """
    expected = (values.shape[0], elementwise.n_params, *values.shape[1:])
    if tuple(params.shape) != expected:
        kind = type(elementwise).__name__
        raise ValueError(
            f"{kind} needs parameters {expected} of its net, got {tuple(params.shape)}"
        )


@dataclass(frozen=True)
class Swapped(Elementwise):
    """The map with its directions swapped, as `caudal.Inverse` does for a bijection.

    An inverse autoregressive flow of a swapped affine map gives x_t = z_t s(z_<t) + m(z_<t): the
    net's outputs are then the scale and the mean themselves, in the paper's form.
    Reference: Parallel WaveNet (van den Oord et al., 2017), arXiv:1711.10433.
    """

    elementwise: Elementwise

    @property
    def n_params(self) -> int:
        return self.elementwise.n_params

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return self.elementwise.inverse(z, params)

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return self.elementwise.forward(x, params)

    def in_tails(self, x: Tensor) -> Tensor | None:
        return self.elementwise.in_tails(x)
