"""Flows of other libraries as ours: `caudal.convert`, and the recipe that builds them again."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import caudal
from caudal.errors import InputError
from caudal.recipes.recipe import Recipe

if TYPE_CHECKING:
    from torch import Tensor, nn

_ROWS, _TOLERANCE = 8, 1e-6  # rows that both flows score, and the difference allowed


@dataclass(frozen=True)
class Converted(Recipe):
    """What `caudal.convert` has read: a flow of any of our parts, with a normal base.

    No one chooses it by name, and it is not listed; a model file names it.
    """

    name = "converted"
    good_for = "flows of zuko, nflows and normflows: see caudal.convert"
    scores = "parallel"
    samples = "parallel"
    images = True
    listed = False

    plan: tuple[Any, ...] = ()
    """Names of parts with their arguments: see `caudal.conversion.plan`."""

    def __post_init__(self) -> None:
        for way, reached in (("scores", True), ("samples", False)):
            if _steps(self.plan, inverted=reached):
                object.__setattr__(self, way, "sequential")

    def _build(
        self, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> caudal.Flow:
        if not self.plan:
            raise ValueError("a converted flow comes from caudal.convert: it has no `plan`")
        bijection = caudal.conversion.build(self.plan)
        return caudal.Flow(bijection, caudal.base.Normal(event_shape), context_shape=context_shape)


def convert(flow: Any, *, context_shape: Sequence[int] | None = None) -> caudal.Flow:
    """A flow of zuko, nflows or normflows as one of ours, with the same weights and scores.

    MAF, neural spline flows, NICE and Real-NVP are converted, and Glow of normflows, with what
    stands between their layers: permutations, LU maps, normalisation. The weights are copied. A
    few rows are scored by both flows, so that a flow that was changed by hand is refused.

    Args:
        flow: a zuko.lazy.Flow, nflows.flows.Flow, normflows.NormalizingFlow or MultiscaleFlow.
        context_shape: of one row of context, for a flow of nflows with an embedding net, which
            stays the module that it is.

    Returns:
        The flow in evaluation mode, of the same dtype and on the same device.

    Raises:
        InputError: a layer has no counterpart here, with its name and place; or scores differ.
    """
    source = caudal.conversion.read(flow)
    if source.embedding is not None and context_shape is None:
        raise InputError(
            "this flow of nflows has an embedding net: give the `context_shape` of its context"
        )
    shape = source.context_shape if source.embedding is None else context_shape
    _compare(flow, shape)
    return _made(source, shape, next(flow.parameters()))


def _made(
    source: caudal.conversion.Source, context_shape: Sequence[int] | None, like: Tensor
) -> caudal.Flow:
    """Our flow of what was read, with the dtype and on the device of a tensor."""
    whole = caudal.conversion.chain(source)
    made = Converted(whole.plan).build(source.event_shape, context_shape, standardise=False)
    made.embedding = source.embedding
    made = made.to(like.device, like.dtype).eval()
    made.bijection.load_state_dict(whole.state)
    return made


def _steps(plan: Any, inverted: bool, within: bool = False) -> bool:
    """Whether an autoregressive layer stands in the plan, within an odd number of inverses."""
    if not isinstance(plan, tuple) or not plan:
        return False
    if plan[0] == "Autoregressive":
        return within == inverted
    within = within != (plan[0] == "Inverse")
    return any(_steps(item, inverted, within) for item in plan)


def _compare(flow: nn.Module, context_shape: Sequence[int] | None) -> None:
    """Refuses a flow that scores a few of our samples otherwise than we do, both in float64."""
    import torch

    flow = deepcopy(flow).to("cpu", torch.float64).eval()
    source = caudal.conversion.read(flow)
    made = _made(source, context_shape, next(flow.parameters()))
    generator = torch.Generator().manual_seed(0)
    context = None
    if context_shape is not None:
        shape = (_ROWS, *context_shape)
        context = torch.randn(shape, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        x = made.sample(_ROWS, context, generator=generator)
        x = x.where(x.isfinite(), torch.rand_like(x))  # an untrained flow may overflow
        ours, theirs = made.log_prob(x, context), source.log_prob(x, context)
    if not torch.allclose(ours, theirs, rtol=_TOLERANCE, atol=_TOLERANCE):
        worst = float((ours - theirs).abs().max())
        raise InputError(
            f"the converted `flow` scores other than the flow itself, by up to {worst:.3g} nats: "
            f"a layer of it does not do what its class says"
        )
