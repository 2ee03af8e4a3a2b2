"""Bijections from data to noise in one pass, and back by iteration: residual and triangular."""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from caudal.bijection import Bijection, Estimated, sum_event
from caudal.bijections.linear import full_precision
from caudal.numerics import (
    Push,
    Series,
    Weight,
    estimate,
    exact,
    generator_in_use,
    log_dets_wanted,
    rademacher,
    solve,
)

EXACT = 64
"""Largest number of elements for which evaluation computes the determinant itself."""
EXACT_IN_TRAINING = 4
"""The same limit in training, where the determinant has to be differentiated."""
_MEMORY = 5  # sweeps that the acceleration looks back on


class LipschitzNet(Protocol):
    """What the layer asks of `caudal.nets.LipschitzNet`, which bijections do not import."""

    def __call__(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """g(x), of the shape of x."""

    def linearised(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Push]:
        """g(x), and the products with its Jacobian J there: v to J v, k vectors at each x."""

    def frozen(self) -> Callable[[Tensor, Tensor | None], Tensor]:
        """The net with its present weights, normalised once for many passes."""

    def lipschitz(self) -> float:
        """An upper bound of the Lipschitz constant of g in x, below 1."""


class Residual(Estimated):
    """z = x + g(x), Lip(g) < 1: a free-form Jacobian, in one pass from data to noise.

    `forward` iterates x = z - g(x), with acceleration, to a measured residual. For events of up to
    64 elements (4 in training) the log-det is the determinant itself. For larger events it is a
    series with random probes: `training` in training mode and `evaluation` otherwise. In
    evaluation the probe and the number of terms are always the same, so that repeated scores are
    equal; within `caudal.numerics.drawing` each row has its own, and errors average out over rows.
    Either way the gradient is that of the Neumann series (see `numerics.estimate`).
    References: i-ResNet (Behrmann et al., 2019), arXiv:1811.00995; Residual flows (Chen et al.,
    2019), arXiv:1906.02735.

    Raises:
        NumericalError: the iteration does not converge, because g is not a contraction.
    """

    seed: Tensor

    def __init__(
        self,
        net: LipschitzNet,
        event_shape: Sequence[int],
        training: Series,
        evaluation: Series,
    ) -> None:
        super().__init__()
        self.net = net
        self.elements = math.prod(event_shape)
        self.series = {True: training, False: evaluation}
        self.register_buffer("seed", torch.randint(1 << 62, ()))

    def extra_repr(self) -> str:
        training, evaluation = self.series[True], self.series[False]
        return f"elements={self.elements}, training={training}, evaluation={evaluation}"

    @property
    def kind(self) -> str:
        return "exact" if self.elements <= EXACT else self.series[False].kind

    def bias_bound(self) -> float:
        if self.kind != "biased":
            return 0.0
        return self.elements * self.series[False].bias_bound(self.net.lipschitz())

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        what = "sampling a residual block, whose net caudal.calibrate makes a contraction"
        # In half precision sweeps would stall, or end where `inverse` does not lead back to z.
        with full_precision(z):
            run = self.net.frozen()

            def sweep(x: Tensor, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
                proposal = z - run(x, context)
                return proposal, proposal - x

            x = solve(sweep, z, (z, context), what=what, memory=_MEMORY)
        log_det = -self.inverse(x, context)[1] if log_dets_wanted() else z.new_zeros(z.shape[0])
        return x, log_det

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        # In half precision the products with the Jacobian would be too coarse.
        with full_precision(x):
            if not log_dets_wanted() or x.shape[0] == 0:
                return x + self.net(x, context), x.new_zeros(x.shape[0])
            added, push = self.net.linearised(x, context)
            return x + added, self._log_det(push, x)

    def _log_det(self, push: Push, x: Tensor) -> Tensor:
        if self.elements <= (EXACT_IN_TRAINING if self.training else EXACT):
            return exact(push, x)
        return estimate(push, *self._drawn(x))

    def _drawn(self, x: Tensor) -> tuple[list[Weight], Tensor]:
        """The weights of the terms, and the probes."""
        series, generator = self.series[self.training], generator_in_use()
        if self.training:  # all rows share one length: else all would wait for the longest
            return series.weights(1, None), rademacher(x, len(x))
        if generator is not None:
            return series.weights(len(x), generator), rademacher(x, len(x), generator)
        fixed = torch.Generator().manual_seed(int(self.seed))
        return series.weights(1, fixed), rademacher(x, 1, fixed).expand_as(x)


class TriangularNet(Protocol):
    """What the layer asks of `caudal.nets.TriangularNet`, which bijections do not import."""

    def __call__(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """A value and its slope >= 0, both (B, *event): the diagonal of a triangular Jacobian."""


class Triangular(Bijection):
    """z = F(x) = exp(s) x + f(x), f with a triangular Jacobian of diagonal f' >= 0: MintNet's.

    `inverse` is one pass, log|det| = sum log F', F' = exp(s) + f'. `forward` applies Newton's
    method to all elements at once, x <- x + (z - F(x)) / F'(x), where F' is the diagonal alone and
    steps are damped. Elements converge one after the other; near the solution this takes no more
    sweeps than there are elements. s has the event's shape. Both directions have gradients, those
    of `forward` to first order.
    Reference: MintNet: building invertible neural networks with masked convolutions (Song, Meng,
    Ermon, 2019), arXiv:1907.07945.
    """

    def __init__(self, net: TriangularNet, event_shape: Sequence[int]) -> None:
        super().__init__()
        self.net = net
        self.log_scale = nn.Parameter(torch.zeros(*event_shape))

    def extra_repr(self) -> str:
        return f"event_shape={tuple(self.log_scale.shape)}"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = solve(
            self._sweep,
            z * (-self.log_scale).exp(),
            (z, context),
            what="sampling a triangular layer",
            tolerance=1e-6 if z.dtype == torch.float32 else None,
            most=100 + 4 * math.prod(z.shape[1:]),
            patience=100,  # late elements can get worse again while early ones settle
            damped=True,
        )
        return x, -self.inverse(x, context)[1] if log_dets_wanted() else z.new_zeros(z.shape[0])

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
