"""Targets by name, and a user's own function as a target."""

from torch import Tensor

from caudal.targets.particles import DW4, LJ13
from caudal.targets.plane import Banana, FortyGaussians, Funnel
from caudal.targets.schools import EightSchools
from caudal.targets.target import LogDensity, Target
from caudal.targets.wells import ManyWell

TARGETS: dict[str, type[Target]] = {
    kind.name: kind for kind in (Banana, Funnel, FortyGaussians, ManyWell, EightSchools, DW4, LJ13)
}
"""The targets with known answers, by name."""


class Named(Target):
    """A user's own function as a target, of which nothing else is known.

    Args:
        name: what it is called.
        log_density: log-densities (N,) of rows x (N, D), in nats.
        features: D.
        scale: the standard deviation of a broad Gaussian around 0 that covers the density.
    """

    def __init__(
        self, name: str, log_density: LogDensity, features: int, scale: float = 1.0
    ) -> None:
        self.name = name  # type: ignore[misc]
        self._log_density, self.features, self.scale = log_density, features, scale

    def __call__(self, x: Tensor) -> Tensor:
        return self._log_density(x)
