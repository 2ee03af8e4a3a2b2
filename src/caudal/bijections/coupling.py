"""Coupling: part of the event passes unchanged and parametrises the map of the rest."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from caudal.bijection import Bijection, sum_event
from caudal.elementwise import Elementwise, check_params

Direction = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Coupling(Bijection):
    """x[keep] = z[keep];  x[~keep] = elementwise(z[~keep]; net(z[keep])).

    `keep` is a boolean mask, of one of two kinds:
    - along dimension 1, shape (C,): the net sees only the kept channels (B, C_keep, *rest) and
      gives parameters of the others, (B, P, C_move, *rest). Nothing is computed in vain.
    - of the event's own shape (a checkerboard, say): the net sees the event with zeros in place of
      the moving elements, (B, *event), and gives parameters of every element, (B, P, *event).
    The Jacobian is triangular; both directions cost one pass of the net.
    References: NICE (Dinh, Krueger, Bengio, 2014), arXiv:1410.8516; Real-NVP (Dinh,
    Sohl-Dickstein, Bengio, 2017), arXiv:1605.08803.
    """

    keep: Tensor

    def __init__(self, net: nn.Module, elementwise: Elementwise, keep: Tensor) -> None:
        super().__init__()
        if keep.dtype != torch.bool or keep.all():
            raise ValueError(f"`keep` must be boolean and leave something to move, got {keep}")
        self.net = net
        self.elementwise = elementwise
        self.register_buffer("keep", keep, persistent=False)
        if keep.ndim == 1:
            self._kept, self._moved = _Part(keep), _Part(~keep)

    def extra_repr(self) -> str:
        kept = int(self.keep.sum())
        return f"keeps {kept} of {self.keep.numel()}, moved by {self.elementwise}"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._move(z, context, self.elementwise.forward)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._move(x, context, self.elementwise.inverse)

    def _move(
        self, value: Tensor, context: Tensor | None, direction: Direction
    ) -> tuple[Tensor, Tensor]:
        if self.keep.ndim > 1:
            params = self._params(value * self.keep, context, like=value)
            moved, log_slope = direction(value, params)
            log_slope = torch.where(self.keep, 0.0, log_slope)
            return torch.where(self.keep, value, moved), sum_event(log_slope)
        moving = self._moved.take(value)
        params = self._params(self._kept.take(value), context, like=moving)
        moved, log_slope = direction(moving, params)
        return self._moved.put(moved, into=value), sum_event(log_slope)

    def _params(self, seen: Tensor, context: Tensor | None, like: Tensor) -> Tensor:
        params = self.net(seen, context)
        check_params(params, self.elementwise, like)
        # Under autocast the net may return half precision, which is too coarse for a log-det.
        return params.to(like.dtype)


class _Part:
    """The channels of a mask: a slice if they are evenly spaced (halves, parity), else a list."""

    def __init__(self, mask: Tensor) -> None:
        self.index = mask.nonzero().flatten()
        steps = self.index.diff().unique().tolist()
        self.slice: tuple[int, int, int] | None = None
        if self.index.numel() == 0:
            self.slice = (0, 0, 1)
        elif len(steps) <= 1:
            self.slice = (int(self.index[0]), int(self.index[-1]) + 1, *(steps or [1]))

    def take(self, value: Tensor) -> Tensor:
        if self.slice is None:
            return value.index_select(1, self.index.to(value.device))
        return value[:, slice(*self.slice)]

    def put(self, part: Tensor, *, into: Tensor) -> Tensor:
        if self.slice is None:
            return into.index_copy(1, self.index.to(into.device), part)
        return torch.slice_scatter(into, part, 1, *self.slice)
