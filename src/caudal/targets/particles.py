"""Particles that attract and repel each other: DW4 and LJ13, without their centre of mass."""

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from caudal.targets.target import Target


class Particles(Target):
    """N particles in d dimensions whose energy knows their distances alone.

    Moving all of them changes nothing, so that there is no density of their places. A row has
    coordinates x ((N - 1) d,) of the places r (N, d) in the space where the centre of mass is 0:
    r = B x with B orthonormal columns, which keeps volumes. The density is the same for all
    rotations, reflections and orders of the particles: `moved` draws one of them. A flow must
    learn that from such moves; one that is built to be equivariant knows it beforehand, and needs
    far fewer parameters and evaluations of the energy.
    """

    count: ClassVar[int]
    space: ClassVar[int]

    def __init__(self) -> None:
        self.features = (self.count - 1) * self.space
        self._basis = _without_mean(self.count)  # (N, N - 1)
        self._first, self._second = torch.triu_indices(self.count, self.count, offset=1)

    @abstractmethod
    def pair(self, distance: Tensor) -> Tensor:
        """Minus the energy of pairs at these distances, elementwise."""

    def __call__(self, x: Tensor) -> Tensor:
        return self.pair(self.distances(x)).sum(1)

    def places(self, x: Tensor) -> Tensor:
        """The particles' places (B, N, d) of rows x (B, (N - 1) d)."""
        return self._basis.to(x) @ x.unflatten(1, (self.count - 1, self.space))

    def rows(self, places: Tensor) -> Tensor:
        """Rows x (B, (N - 1) d) of places (B, N, d), whose centre of mass is taken off."""
        return (self._basis.to(places).T @ places).flatten(1)

    def distances(self, x: Tensor) -> Tensor:
        """The distances of all pairs, (B, N (N - 1) / 2)."""
        places = self.places(x)
        apart = places[:, self._first] - places[:, self._second]
        return apart.square().sum(2).clamp(min=1e-12).sqrt()

    def moved(self, x: Tensor) -> Tensor:
        order = torch.rand(len(x), self.count, device=x.device).argsort(1)
        noise = torch.randn(len(x), self.space, self.space, device=x.device, dtype=x.dtype)
        turn, triangle = torch.linalg.qr(noise)
        turn = turn * triangle.diagonal(dim1=1, dim2=2).sign().unsqueeze(1)  # uniform over O(d)
        places = self.places(x).take_along_dim(order.unsqueeze(2), 1)
        return self.rows(places @ turn)


class DW4(Particles):
    """Four particles in the plane, in double wells: -t = sum over pairs of 0.9 u^4 - 4 u^2.

    u = d - 4, d the distance of a pair.
    Reference: Köhler, Klein, Noé, Equivariant flows (2020), arXiv:2006.02425.
    """

    name = "dw4"
    about = "four particles in the plane, whose pairs have two distances at which they rest"
    count, space = 4, 2
    scale = 3.0

    def pair(self, distance: Tensor) -> Tensor:
        u = distance - 4
        return 4 * u**2 - 0.9 * u**4


class LJ13(Particles):
    """13 particles in space under the Lennard-Jones potential, held together by a spring.

    -t = sum over pairs of (d^-12 - 2 d^-6) + sum over particles of |r|^2 / 2, in units in which a
    pair rests at the distance 1. Pairs closer than 0.75, which have an energy above 20, repel each
    other by a constant force from there on, so that numbers do not overflow.
    Reference: Köhler, Klein, Noé, Equivariant flows (2020), arXiv:2006.02425.
    """

    name = "lj13"
    about = "13 Lennard-Jones particles in space"
    count, space = 13, 3
    scale = 1.0
    _core = 0.75

    def pair(self, distance: Tensor) -> Tensor:
        core = self._core
        slope = 12 * (core**-13 - core**-7)
        sixth = distance.clamp(min=core).square().reciprocal() ** 3  # d^-6
        return -(sixth - 2) * sixth - slope * (core - distance).clamp(min=0)

    def __call__(self, x: Tensor) -> Tensor:
        return super().__call__(x) - 0.5 * x.square().sum(1)


def _without_mean(n: int) -> Tensor:
    """Orthonormal columns (n, n - 1) of the vectors whose mean is 0: Helmert's."""
    basis = torch.zeros(n, n - 1, dtype=torch.float64)
    for k in range(1, n):
        basis[:k, k - 1], basis[k, k - 1] = 1.0, -float(k)
    return basis / basis.norm(dim=0)
