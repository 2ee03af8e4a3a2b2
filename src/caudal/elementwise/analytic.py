"""Maps of the whole line that are smooth everywhere, with an inverse in closed form."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from caudal.elementwise.affine import soft_bound
from caudal.elementwise.protocol import Elementwise

_FAR = 30.0  # scales from the centre, where the map is a shift to within rounding
_SPREAD = 2.0  # over which the centres begin


@dataclass(frozen=True)
class SinhConjugation(Elementwise):
    """z = asinh(e^mu (e^nu sinh(x) + beta)) of (x - centre) / scale, several of them in a row.

    Each bends the line around its centre and shifts it beyond, so that there are no tails and all
    derivatives exist. The inverse is the same map with mu, nu and beta turned around. Parameters
    for K maps: K each of the centre, log-scale (within 2), mu and nu (within 4), and beta.
    Reference: Analytic bijections (2026), arXiv:2601.10774.
    """

    maps: int = 4

    @property
    def n_params(self) -> int:
        return 5 * self.maps

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        x, log_slope = z, torch.zeros_like(z)
        for index in reversed(range(self.maps)):
            centre, scale, mu, nu, beta = self._of(params, index)
            t, log_part = _bend((x - centre) / scale, -nu, -mu, -beta)
            x, log_slope = t * scale + centre, log_slope + log_part
        return x, log_slope

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        z, log_slope = x, torch.zeros_like(x)
        for index in range(self.maps):
            centre, scale, mu, nu, beta = self._of(params, index)
            t, log_part = _bend((z - centre) / scale, mu, nu, beta)
            z, log_slope = t * scale + centre, log_slope + log_part
        return z, log_slope

    def _of(self, params: Tensor, index: int) -> tuple[Tensor, ...]:
        """Centre, scale, mu, nu and beta of one map, each of the shape of the values."""
        centre, scale, mu, nu, beta = params[:, 5 * index : 5 * index + 5].unbind(1)
        start = _SPREAD * (2 * index / max(self.maps - 1, 1) - 1)  # equal ones would stay equal
        return (
            centre + start,
            soft_bound(scale, 2.0).exp(),
            soft_bound(mu, 4.0),
            soft_bound(nu, 4.0),
            beta,
        )


def _bend(t: Tensor, mu: Tensor, nu: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """asinh(e^mu (e^nu sinh(t) + beta)) and the logarithm of its slope."""
    near = t.clamp(-_FAR, _FAR)
    v = mu.exp() * (nu.exp() * near.sinh() + beta)
    size = near.abs()
    log_cosh = size + torch.log1p((-2 * size).exp()) - math.log(2)
    return v.asinh() + (t - near), mu + nu + log_cosh - 0.5 * torch.log1p(v.square())
