"""ManyWell: products of double wells, whose modes are too many to be found one by one."""

import math

import torch
from torch import Tensor

from caudal.targets.quadrature import Grid
from caudal.targets.target import Target


class ManyWell(Target):
    """16 independent pairs (a, b), t = -a^4 + 6 a^2 + a / 2 - b^2 / 2 each: 2^16 modes.

    Columns 1, 3, 5, ... are a, the others b. log Z = 164.696 and the moments of a are by
    quadrature on a grid; so are samples of a.
    Reference: Flow annealed importance sampling bootstrap (Midgley et al., 2023),
    arXiv:2208.01893.
    """

    name = "many-well"
    about = "16 double wells, 32 columns with 65,536 modes"
    features = 32
    scale = 2.0

    def __init__(self) -> None:
        points = torch.linspace(-4, 4, 1 << 14, dtype=torch.float64)
        self._grid = Grid(points, self._well(points))
        pairs = self.features // 2
        self.log_z = pairs * (self._grid.log_z + 0.5 * math.log(2 * math.pi))
        mean = self._grid.expectation(points)
        std = math.sqrt(self._grid.expectation(points**2) - mean**2)
        self.mean = torch.tensor([mean, 0.0] * pairs, dtype=torch.float64)
        self.std = torch.tensor([std, 1.0] * pairs, dtype=torch.float64)
        self.right = self._grid.expectation((points > 0).double())
        """The probability of a > 0."""

    def __call__(self, x: Tensor) -> Tensor:
        return self._well(x[:, ::2]).sum(1) - 0.5 * x[:, 1::2].square().sum(1)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        pairs = self.features // 2
        a = self._grid.sample(n * pairs, generator).view(n, pairs)
        b = torch.randn(n, pairs, generator=generator)
        return torch.stack([a.float(), b], 2).flatten(1)

    @staticmethod
    def _well(a: Tensor) -> Tensor:
        return -(a**4) + 6 * a**2 + a / 2
