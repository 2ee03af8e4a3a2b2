"""Maps of one number to one number, given parameters: what couplings and causal nets steer.

Parameters come on dimension 1: (B, P, *event) for values (B, *event). With all parameters zero
every map here is the identity, so a net whose last layer is zero starts a flow at the identity.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

from torch import Tensor


class Scalar(NamedTuple):
    """The map from z to x as compiled loops know it (see `caudal.kernels`)."""

    name: str
    constants: tuple[float, ...]


class Elementwise(ABC):
    """An increasing map of each element, without weights of its own."""

    @property
    @abstractmethod
    def n_params(self) -> int:
        """How many parameters each element needs."""

    @abstractmethod
    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """From z to x: x and log dx/dz, both (B, *event)."""

    @abstractmethod
    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        """From x to z: z and log dz/dx, both (B, *event)."""

    @property
    @abstractmethod
    def scalar(self) -> Scalar | None:
        """The compiled twin of `forward`, if it has one."""

    @abstractmethod
    def in_tails(self, x: Tensor) -> Tensor | None:
        """Which x lie where the map cannot bend, as booleans; None if it has no such place."""


def check_params(params: Tensor, elementwise: Elementwise, values: Tensor) -> None:
    """Refuses a net that does not fit: broadcasting would make its log-dets wrong in silence.

    Raises:
        ValueError: params are not (B, P, *event) for values (B, *event).
    """
    expected = (values.shape[0], elementwise.n_params, *values.shape[1:])
    if tuple(params.shape) != expected:
        kind = type(elementwise).__name__
        raise ValueError(
            f"{kind} needs parameters {expected} of its net, got {tuple(params.shape)}"
        )
