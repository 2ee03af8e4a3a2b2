"""Bijections with a triangular Jacobian, inverted by Newton's method on its diagonal."""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from caudal.bijection import Bijection, sum_event
from caudal.bijections.linear import full_precision
from caudal.numerics import log_dets_wanted, solve


class TriangularNet(Protocol):
    """What `caudal.nets.TriangularNet` promises; bijections and nets do not import each other."""

    def __call__(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """A value and its slope >= 0, both (B, *event): the diagonal of a triangular Jacobian."""


class Triangular(Bijection):
    """z = F(x) = exp(s) x + f(x), f with a triangular Jacobian of diagonal f' >= 0: MintNet's.

    `inverse` is one pass, log|det| = sum log F', F' = exp(s) + f'. `forward` sweeps over all
    elements at once, x <- x + (z - F(x)) / F'(x), F' the diagonal alone, and damped: one after the
    other falls in place, near the solution in no more sweeps than there are elements. s has the
    event's shape. Gradients flow both ways, those of `forward` to first order.
    Reference: MintNet: building invertible neural networks with masked convolutions (Song, Meng,
    Ermon, 2019), arXiv:1907.07945.
    """

    def __init__(self, net: TriangularNet, event_shape: Sequence[int]) -> None:
        super().__init__()
        self.net = net
        self.log_scale = nn.Parameter(torch.zeros(*event_shape))

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = solve(
            self._sweep,
            z * (-self.log_scale).exp(),
            (z, context),
            what="sampling a triangular layer",
            tolerance=1e-6 if z.dtype == torch.float32 else None,
            most=100 + 4 * math.prod(z.shape[1:]),
            patience=100,  # what comes late can grow again while what comes early settles
            damped=True,
        )
        return x, -self.inverse(x, context)[1] if log_dets_wanted() else z.new_zeros(len(z))

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, slope = self._value(x, context)
        return z, sum_event(slope.log())

    def _value(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """F(x) and F'(x)."""
        with full_precision(x):
            value, slope = self.net(x, context)
        scale = self.log_scale.exp()
        return torch.addcmul(value, x, scale), slope + scale

    def _sweep(self, x: Tensor, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        value, slope = self._value(x, context)
        residual = z - value
        return x + residual / slope, residual
