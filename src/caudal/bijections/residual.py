"""Residual bijections: from data to noise a contraction is added, and back it is iterated away."""

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from caudal.bijection import Estimated
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
"""Elements of an event up to which evaluation takes the determinant itself."""
EXACT_IN_TRAINING = 4
"""The same of training, where the determinant has to be differentiated."""
_MEMORY = 5  # sweeps that the acceleration looks back on


class LipschitzNet(Protocol):
    """What `caudal.nets` promises; bijections and nets do not import each other."""

    def __call__(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """g(x), as x."""

    def linearised(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Push]:
        """g(x), and products with its Jacobian there: v to J v, k vectors at each x at once."""

    def frozen(self) -> Callable[[Tensor, Tensor | None], Tensor]:
        """The net as it is now: many passes with the same weights."""

    def lipschitz(self) -> float:
        """An upper bound of the Lipschitz constant of g in x, below 1."""


class Residual(Estimated):
    """z = x + g(x), Lip(g) < 1: a free-form Jacobian, in one pass from data to noise.

    `forward` iterates x = z - g(x), accelerated, to a measured residual. The log-det is the
    determinant itself for events of up to 64 elements (in training 4); of others it is a series
    with random probes, `training` in training mode and `evaluation` otherwise. In evaluation the
    probe and the number of terms are always the same ones, so that a repeated score is equal;
    within `caudal.numerics.drawing` each row has its own, and errors average out over rows.
    Either way the gradient is that of the Neumann series (see `numerics.estimate`).
    References: i-ResNet (Behrmann et al., 2019), arXiv:1811.00995; Residual flows (Chen et al.,
    2019), arXiv:1906.02735.

    Raises:
        NumericalError: the iteration does not converge: g is no contraction.
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

    @property
    def kind(self) -> str:
        return "exact" if self.elements <= EXACT else self.series[False].kind

    def bias_bound(self) -> float:
        if self.kind != "biased":
            return 0.0
        return self.elements * self.series[False].bias_bound(self.net.lipschitz())

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        what = "sampling a residual block, whose net caudal.calibrate makes a contraction"
        # In half precision sweeps would stall, or end at what `inverse` does not come from.
        with full_precision(z):
            run = self.net.frozen()

            def sweep(x: Tensor, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
                proposal = z - run(x, context)
                return proposal, proposal - x

            x = solve(sweep, z, (z, context), what=what, memory=_MEMORY)
        log_det = -self.inverse(x, context)[1] if log_dets_wanted() else z.new_zeros(len(z))
        return x, log_det

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        # In half precision the products with the Jacobian would be too coarse.
        with full_precision(x):
            if not log_dets_wanted() or not len(x):
                return x + self.net(x, context), x.new_zeros(len(x))
            added, push = self.net.linearised(x, context)
            return x + added, self._log_det(push, x)

    def _log_det(self, push: Push, x: Tensor) -> Tensor:
        if self.elements <= (EXACT_IN_TRAINING if self.training else EXACT):
            return exact(push, x)
        return estimate(push, *self._drawn(x))

    def _drawn(self, x: Tensor) -> tuple[list[Weight], Tensor]:
        """The weights of the terms, and the probes."""
        series, generator = self.series[self.training], generator_in_use()
        if self.training:  # sums of one length: the longest would make all rows wait
            return series.weights(1, None), rademacher(x, len(x))
        if generator is not None:
            return series.weights(len(x), generator), rademacher(x, len(x), generator)
        fixed = torch.Generator().manual_seed(int(self.seed))
        return series.weights(1, fixed), rademacher(x, 1, fixed).expand_as(x)
