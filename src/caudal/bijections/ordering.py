"""Autoregressive layers that share one order of their tokens, which may be any."""

from collections.abc import Sequence
from operator import index

import torch
from torch import Tensor

from caudal.bijection import Bijection, Chain, Direction, Within, alike, exchanged
from caudal.numerics import uniform


class AnyOrder(Within):
    """Runs a bijection on the tokens of an event (B, *rest, T), taken in some order.

    x[o_1], .., x[o_T] = bijection(z[o_1], .., z[o_T]; context, o), where each token depends on
    those before it alone: all layers within are autoregressive in the one order o. So p(x) is a
    product of p(x[o_t] | x[o_1], .., x[o_t-1]), and the first k factors are the density of k
    tokens without the others. With k tokens first, the others are drawn given them exactly.

    In training each pass draws an order for each row; in evaluation it is that of the event, or a
    fixed one (`in_order`). As the weights are not those of one joint density, other orders give
    somewhat different densities, each of which is exact.
    References: A deep and tractable density estimator (Uria, Murray, Larochelle, 2014),
    arXiv:1310.1757 (training over orders); sigma-GPTs (Pannatier, Courdier, Fleuret, 2024),
    arXiv:2404.09562 (transformers that are told where the next token is).

    Args:
        parts: of the bijection, from the noise to the data. Their context is that of the flow, if
            any, followed by the order of each row, T numbers.
        length: T.
    """

    order: Tensor

    def __init__(self, parts: Sequence[Bijection], length: int) -> None:
        super().__init__(Chain(parts))
        self.length = length
        self.fixed = False
        self.register_buffer("order", torch.arange(length), persistent=False)

    def extra_repr(self) -> str:
        order = f"in the order {self.order.tolist()}" if self.fixed else "in any order"
        return f"{self.length} tokens {order}, {self.bijection!r}"

    def take(self, event: Tensor) -> Tensor:
        return event.index_select(-1, self.order)

    def put(self, taken: Tensor, into: Tensor) -> Tensor:
        return taken.index_select(-1, self.order.argsort())

    def given(self, event: Tensor, context: Tensor | None) -> Tensor:
        return _beside(context, self.order.expand(event.shape[0], -1), event)

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.fixed or not self.training:
            return super().forward(z, context)
        return self._run(self.bijection, z, context, self._drawn(z))

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if self.fixed or not self.training:
            return super().inverse(x, context)
        return self._run(self.bijection.inverse, x, context, self._drawn(x))

    def noise_of_first(
        self, x: Tensor, order: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The noise of some tokens of x (B, *rest, T), taken in their order (B, k), k <= T.

        Returns it as (B, *rest, k), with the log-det of these tokens alone, (B,): with the base's
        density of this noise it is the density of the tokens without the others.
        """
        taken = _taken(x, order)
        if not taken.shape[-1]:
            return taken, x.new_zeros(x.shape[0])
        return self.bijection.inverse(taken, _beside(context, order, x))

    def completed(
        self, first: Tensor, others: Tensor, order: Tensor, context: Tensor | None
    ) -> Tensor:
        """X (B, *rest, T) from the noise of its tokens, of the first ones and of the others.

        The noise is in their order (B, T).
        """
        z = torch.cat([first, others], -1)
        return _put_back(self.bijection(z, _beside(context, order, z))[0], order)

    def _run(
        self, direction: Direction, value: Tensor, context: Tensor | None, order: Tensor
    ) -> tuple[Tensor, Tensor]:
        output, log_det = direction(_taken(value, order), _beside(context, order, value))
        return _put_back(output, order), log_det

    def _drawn(self, like: Tensor) -> Tensor:
        """An order for each row, (B, T)."""
        return uniform(like.new_empty(like.shape[0], self.length), None).argsort(1)


def in_order(bijection: Bijection, order: Sequence[int]) -> Bijection:
    """The same bijection, of the same modules, whose tokens are taken in this order.

    It stays in this order, in training too.

    Args:
        bijection: with an `AnyOrder`, which may be in chains and in views.
        order: each of 0..T-1 once.

    Raises:
        ValueError: there is no `AnyOrder`, or the order is not one of its tokens.
    """

    def fixed(part: Bijection) -> Bijection | None:
        return _fixed(part, order) if isinstance(part, AnyOrder) else None

    changed = exchanged(bijection, fixed)
    if changed is None:
        raise ValueError("the flow has one order: for others train a tarflow with `order='any'`")
    return changed


def _fixed(part: AnyOrder, order: Sequence[int]) -> AnyOrder:
    """See `in_order`."""
    numbers = _whole(order)
    if sorted(numbers) != list(range(part.length)):
        most = part.length - 1
        raise ValueError(f"`order` must hold each of 0..{most} once, got {list(order)}")
    fixed = alike(part)
    fixed._buffers["order"] = torch.tensor(numbers, device=part.order.device)
    fixed.fixed = True
    return fixed


def _whole(order: Sequence[int]) -> list[int]:
    """The numbers of an order; none if one of them is not whole."""
    try:
        return [index(number) for number in order]
    except TypeError:
        return []


def _beside(context: Tensor | None, order: Tensor, like: Tensor) -> Tensor:
    """The context with the order of each row after it, as numbers of the dtype of the event."""
    numbers = order.to(like.dtype)
    return numbers if context is None else torch.cat([context, numbers], 1)


def _taken(value: Tensor, order: Tensor) -> Tensor:
    """The tokens of each row (B, *rest, T) in its order (B, k)."""
    return value.gather(-1, _wide(order, value))


def _put_back(taken: Tensor, order: Tensor) -> Tensor:
    """Tokens that are in the order (B, T) of each row, each in its place."""
    return taken.gather(-1, _wide(order.argsort(1), taken))


def _wide(order: Tensor, value: Tensor) -> Tensor:
    """The order of each row for each of the numbers of a token."""
    rest = value.shape[1:-1]
    return order.view(order.shape[0], *(1 for _ in rest), -1).expand(-1, *rest, -1)
