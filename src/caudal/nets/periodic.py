"""Nets of angles: they see cosines and sines, and so nothing of where a circle begins."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from caudal.nets.causal import CausalNet
from caudal.nets.masked import MADE

HARMONICS = 3


class Harmonics(nn.Module):
    """The features cos(k a), sin(k a), k = 1 .. 3, of angles a: (B, D) to (B, 6 D).

    The features of one angle follow each other. They are smooth on the circle, and tell all of its
    points apart.
    Reference: Normalizing flows on tori and spheres (Rezende et al., 2020), arXiv:2002.02428.
    """

    each = 2 * HARMONICS
    """Features of one angle."""

    def forward(self, angles: Tensor) -> Tensor:
        k = torch.arange(1, HARMONICS + 1, device=angles.device)
        turned = angles.unsqueeze(2) * k  # (B, D, 3)
        return torch.cat([turned.cos(), turned.sin()], 2).flatten(1)


class Periodic(nn.Module):
    """A net that sees angles (B, D) by their `Harmonics`, beside context (B, C)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.harmonics = Harmonics()
        self.net = net

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        params: Tensor = self.net(self.harmonics(x), context)
        return params


class PeriodicMADE(CausalNet):
    """`MADE` over angles: (B, D) and context (B, C) to (B, P, D), angle d from the angles < d.

    The masked net is one over the harmonics of all angles. Of its outputs, those at the first
    harmonic of each angle count, which see the harmonics of the angles before it.
    """

    def __init__(
        self, features: int, n_params: int, hidden: Sequence[int], context: int = 0
    ) -> None:
        super().__init__()
        self.harmonics = Harmonics()
        inputs = features * Harmonics.each
        self.made = MADE(inputs, n_params, hidden, context, residual=True)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        params: Tensor = self.made(self.harmonics(x), context)
        return params[:, :, :: Harmonics.each]
