"""The same step many times: a plain loop, or one loop of a graph that is exported."""

from collections.abc import Callable

import torch
from torch import Tensor

from caudal.numerics.randomness import is_exporting


def repeated(
    step: Callable[..., tuple[Tensor, ...]], start: tuple[Tensor, ...], times: int
) -> tuple[Tensor, ...]:
    """The tensors after `times` steps, each of which gives tensors of the same shapes and dtypes.

    A graph would hold as many copies of the step as there are times, and compilers would take
    minutes over them: so that it holds one, a step is traced once, as the body of a scan. Where
    gradients are asked for the steps stay apart, since a scan has none of such a body.
    """
    if times and is_exporting() and torch.is_grad_enabled():
        start, times = step(*start), times - 1
    has_gradients = any(part.requires_grad for part in start)
    if not is_exporting() or has_gradients or times < 2:
        for _ in range(times):
            start = step(*start)
        return start
    from torch._higher_order_ops.scan import scan

    def body(state: tuple[Tensor, ...], count: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        following = (part.contiguous() for part in step(*state))
        return tuple(following), count.clone()

    owned = tuple(part.contiguous().clone() for part in start)  # a scan takes no views
    state, _ = scan(body, owned, torch.arange(times))
    return state
