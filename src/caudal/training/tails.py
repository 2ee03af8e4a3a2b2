"""How much of the data lies where the splines of a flow cannot bend."""

import torch
from torch import Tensor

from caudal.bijection import Bijection, Inverse, walk
from caudal.bijections import Autoregressive, Coupling, Pointwise
from caudal.elementwise import Elementwise
from caudal.flow import Flow

_HOLDERS = (Autoregressive, Coupling, Pointwise)


@torch.no_grad()
def tail_share(
    flow: Flow,
    x: Tensor,
    context: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> float | None:
    """The share in [0, 1] of the numbers moved by splines that fall in the splines' tails.

    There the map is the identity and no parameter gets a gradient. None for a flow without
    splines. x is (B, *event), context (B, C), as in `Flow.log_prob`.
    """
    if not any(_elementwise(module) for module in flow.bijection.modules()):
        return None
    was_training = flow.training
    flow.eval()
    inside, outside = 0, 0
    lifted, _ = flow.lift(x, generator)
    for _, part, part_input in walk(flow.bijection, lifted, flow.embed(context)):
        tails = _tails(part, part_input)
        if tails is not None:
            outside += int(tails.sum())
            inside += int((~tails).sum())
    flow.train(was_training)
    return outside / (inside + outside) if inside + outside else None


def _elementwise(module: object) -> Elementwise | None:
    """The elementwise map of a module that has one with tails."""
    if not isinstance(module, _HOLDERS):
        return None
    tails = module.elementwise.in_tails(torch.zeros(1, 1))
    return None if tails is None else module.elementwise


def _tails(part: Bijection, x: Tensor) -> Tensor | None:
    """Which of the numbers that the part moves lie in its tails."""
    while isinstance(part, Inverse):
        part = part.bijection
    elementwise = _elementwise(part)
    if elementwise is None:
        return None
    if isinstance(part, Coupling):
        x = x[:, ~part.keep]
    return elementwise.in_tails(x)
