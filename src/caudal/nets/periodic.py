"""Nets of angles: they see cosines and sines, and so nothing of where a circle begins."""

from collections.abc import Sequence

from torch import Tensor, nn

from caudal.nets.angles import FEATURES, harmonics
from caudal.nets.causal import CausalNet
from caudal.nets.masked import MADE


class Periodic(nn.Module):
    """A net that sees angles (B, D) by their `harmonics` (B, 6 D), beside context (B, C)."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        params: Tensor = self.net(harmonics(x), context)
        return params


class PeriodicMADE(CausalNet):
    """`MADE` over angles: (B, D) and context (B, C) to (B, P, D), angle d from the angles < d.

    The masked net runs over the harmonics of all angles. Only its outputs at the first harmonic of
    each angle are used, which see the harmonics of the angles before it. Its residual blocks drop
    a share `dropout` of their units in training.
    """

    def __init__(
        self,
        features: int,
        n_params: int,
        hidden: Sequence[int],
        context: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        inputs = features * FEATURES
        self.made = MADE(inputs, n_params, hidden, context, residual=True, dropout=dropout)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        params: Tensor = self.made(harmonics(x), context)
        return params[:, :, ::FEATURES]
