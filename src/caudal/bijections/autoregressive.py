"""Autoregressive bijections: each position is mapped given all the positions before it."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from caudal.bijection import Bijection, sum_event
from caudal.bijections.tokens import TokenCouplings
from caudal.elementwise import Elementwise, check_params
from caudal.numerics import is_exporting, log_dets_wanted, repeated, solve
from caudal.scope import scoped

_PIECE = 256  # positions that are stepped through before they are handed on
_SWEPT: ContextVar[frozenset[int]] = ContextVar("swept", default=frozenset())
"""The ids of layers that sample by sweeps, in this thread."""
_SLACK = 30  # extra sweeps, for rows whose floating point settles late


class CausalNet(Protocol):
    """What the layer asks of `caudal.nets.CausalNet`, which bijections do not import."""

    def __call__(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Parameters of every position at once: (B, *event) to (B, P, *event)."""

    def start(self, like: Tensor, context: Tensor | None = None) -> Any:
        """The state before the first position."""

    def step(self, value: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        """Parameters of the next position (B, P, *rest, 1), given the previous value."""

    def unroll(
        self, z: Tensor, scalar: Any, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor] | None:
        """All steps in one compiled loop: x and log dx/dz; None where no loop applies."""

    def unroll_in_pieces(
        self, z: Tensor, scalar: Any, context: Tensor | None
    ) -> Iterator[tuple[Tensor, Tensor]] | None:
        """Like `unroll`, piece by piece as values are made."""

    def in_pieces(
        self, pieces: Iterable[Tensor], context: Tensor | None, length: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Pieces of clips of `length` samples, cut anew, and the parameters of each."""


class Autoregressive(Bijection):
    """x_t = elementwise(z_t; net(x_<t)): fast density, sequential sampling. A layer of MAF.

    A position may have several numbers, such as the pixels of a patch. An elementwise map makes
    these independent given the positions before; `TokenCouplings` in its place does not.

    `inverse` is one parallel pass. `forward` computes one position at a time or, within
    `by_sweeps`, updates all positions at once until they no longer change. Swapped by `Inverse`
    it is a layer of IAF. The Jacobian is triangular.
    References: MADE (Germain, Gregor, Murray, Larochelle, 2015), arXiv:1502.03509; IAF (Kingma et
    al., 2016), arXiv:1606.04934; MAF (Papamakarios, Pavlakou, Murray, 2017), arXiv:1705.07057.
    """

    def __init__(self, net: CausalNet, elementwise: Elementwise | TokenCouplings) -> None:
        super().__init__()
        self.net = net
        self.elementwise = elementwise

    def extra_repr(self) -> str:
        return f"moved by {self.elementwise}"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if is_exporting():
            return self._by_passes(z, context)
        if id(self) in _SWEPT.get():
            return self._swept(z, context)
        compiled = self.net.unroll(z, self.elementwise.scalar, context)
        if compiled is not None:
            return compiled[0], sum_event(compiled[1])
        state = self.net.start(z, context)
        value, values, log_slopes = None, [], []
        for noise in _batch_last(z).split(1, dim=-1):
            params, state = self.net.step(value, state)
            value, log_slope = self.elementwise.forward(noise, params.to(noise.dtype))
            values.append(value)
            log_slopes.append(log_slope)
        return _joined(values), sum_event(_joined(log_slopes))

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        params = self.net(x, context)
        check_params(params, self.elementwise, x)
        params = params.to(x.dtype)  # half precision, under autocast, is too coarse for a log-det
        if params.stride(0) == 1:
            x = _batch_last(x)  # mixing memory orders is slow
        z, log_slope = self.elementwise.inverse(x, params)
        return z, sum_event(log_slope)

    def _by_passes(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """One pass of the net for each position, as a graph of free batch size can hold."""

        def passed(x: Tensor) -> tuple[Tensor, Tensor]:
            return self.elementwise.forward(z, self.net(x, context).to(z.dtype))

        (x,) = repeated(lambda x: passed(x)[:1], (z,), z.shape[-1] - 1)
        x, log_slope = passed(x)
        return x, sum_event(log_slope)

    def forward_in_pieces(self, z: Tensor, context: Tensor | None) -> Iterator[Tensor]:
        """`forward` of clips (B, 1, T), of which pieces (B, 1, n) come as they are made."""
        if id(self) in _SWEPT.get():
            yield self(z, context)[0]
            return
        compiled = self.net.unroll_in_pieces(z, self.elementwise.scalar, context)
        if compiled is not None:
            yield from (x for x, _ in compiled)
            return
        state, value = self.net.start(z, context), None
        for piece in _batch_last(z).split(_PIECE, dim=-1):
            values = []
            for noise in piece.split(1, dim=-1):
                params, state = self.net.step(value, state)
                value, _ = self.elementwise.forward(noise, params.to(noise.dtype))
                values.append(value)
            yield _joined(values)

    def inverse_in_pieces(
        self, pieces: Iterable[Tensor], context: Tensor | None, length: int
    ) -> Iterator[Tensor]:
        """`inverse` of clips of `length` samples, which come in pieces (B, 1, n)."""
        for x, params in self.net.in_pieces(pieces, context, length):
            yield self.elementwise.inverse(x, params.to(x.dtype))[0]

    def _swept(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        """Jacobi's iteration: after t sweeps the first t positions are exact, whatever x was."""
        most = z.shape[-1] + _SLACK
        what = "sampling an autoregressive layer by sweeps"
        x = solve(self._sweep, z, (z, context), what=what, most=most)
        return x, -self.inverse(x, context)[1] if log_dets_wanted() else z.new_zeros(z.shape[0])

    def _sweep(self, x: Tensor, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        params = self.net(x, context).to(z.dtype)
        proposal, _ = self.elementwise.forward(z, params)
        return proposal, proposal - x


def by_sweeps(module: nn.Module) -> AbstractContextManager[None]:
    """Within this context, the autoregressive layers of a flow sample by sweeps, not by steps.

    A sweep is one pass of the net over all positions. After t sweeps at least the first t
    positions are exact, and exact positions stay so. Often far fewer sweeps than positions are
    needed, which pays where a step costs as much as a pass; compiled steps on a CPU are faster.
    Rows leave the batch when they have converged.
    Reference: Accelerating feedforward computation via parallel nonlinear equation solving (Song,
    Meng, Liao, Ermon, 2021), arXiv:2002.03629.
    """
    layers = {id(part) for part in module.modules() if isinstance(part, Autoregressive)}
    return scoped(_SWEPT, _SWEPT.get() | layers)


def _batch_last(x: Tensor) -> Tensor:
    """The same x, stored with the batch contiguous in memory, as causal nets prefer it."""
    return x.transpose(0, -1).contiguous().transpose(0, -1)


def _joined(positions: list[Tensor]) -> Tensor:
    """Concatenates positions (B, *rest, 1) to (B, *rest, T), the batch contiguous in memory."""
    return torch.cat([position.transpose(0, -1) for position in positions]).transpose(0, -1)
