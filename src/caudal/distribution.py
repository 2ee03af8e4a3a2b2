"""A flow as a `torch.distributions.Distribution`."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from caudal.errors import InputError
from caudal.flow import Flow


class FlowDistribution(Distribution):
    """The density of a flow given one context (batch shape ()), or B of them ((B,)).

    Raises:
        InputError: the context does not fit the flow.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    has_rsample = True

    def __init__(self, flow: Flow, context: Tensor | None = None) -> None:
        _check_context(flow, context)
        self.flow = flow
        self.context = context
        shape = flow.context_shape or ()
        batch = () if context is None else context.shape[: context.ndim - len(shape)]
        super().__init__(torch.Size(batch), torch.Size(flow.event_shape), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """Real events; the narrower supports of a table's columns are not part of it."""
        return constraints.independent(constraints.real, len(self.event_shape))

    def expand(
        self, batch_shape: Sequence[int], _instance: Distribution | None = None
    ) -> "FlowDistribution":
        """The same density with a larger batch shape; its contexts are not copied."""
        batch = torch.Size(batch_shape)
        if _broadcast(self.batch_shape, batch) != batch:
            raise InputError(
                f"cannot expand batch shape {tuple(self.batch_shape)} to {tuple(batch)}"
            )
        new = self._get_checked_instance(FlowDistribution, _instance)
        new.flow = self.flow
        new.context = self._contexts(batch)
        Distribution.__init__(new, batch, self.event_shape, validate_args=False)
        return new

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of values (*sample, *batch, *event), which broadcast: (*sample, *batch)."""
        split = value.ndim - len(self.event_shape)
        leading = _broadcast(value.shape[: max(split, 0)], self.batch_shape)
        if split < 0 or leading is None or value.shape[split:] != self.event_shape:
            raise InputError(
                f"`value` must have shape (*sample, *batch, *event) for batch shape "
                f"{tuple(self.batch_shape)} and event shape {tuple(self.event_shape)}, "
                f"got {tuple(value.shape)}"
            )
        rows = value.expand(*leading, *self.event_shape).reshape(-1, *self.event_shape)
        return self.flow.log_prob(rows, self._rows(leading)).reshape(leading)

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Reparameterised draws (*sample_shape, *batch, *event)."""
        leading = torch.Size(sample_shape) + self.batch_shape
        n = leading.numel()
        x, _ = self.flow.sample_with_log_prob(n, self._rows(leading))
        return x.reshape(*leading, *self.event_shape)

    def _contexts(self, leading: torch.Size) -> Tensor | None:
        """The contexts of events of batch shape `leading`."""
        if self.context is None:
            return None
        return self.context.expand(*leading, *self.context.shape[len(self.batch_shape) :])

    def _rows(self, leading: torch.Size) -> Tensor | None:
        contexts = self._contexts(leading)
        return None if contexts is None else contexts.reshape(-1, *contexts.shape[len(leading) :])


def _broadcast(first: Sequence[int], second: Sequence[int]) -> torch.Size | None:
    """The shape of both broadcast together, None if they do not fit."""
    try:
        return torch.broadcast_shapes(first, second)
    except RuntimeError:
        return None


def _check_context(flow: Flow, context: Tensor | None) -> None:
    shape, like = flow.context_shape, flow.base.like
    if shape is None:
        if context is not None:
            raise InputError("this flow takes no `context`: it was built without `context_shape`")
        return
    wanted = f"`context` of shape {tuple(shape)}, or (B, {', '.join(map(str, shape))})"
    if context is None:
        raise InputError(f"this flow needs a {wanted}")
    start = context.ndim - len(shape)
    if start < 0 or tuple(context.shape[start:]) != shape:
        raise InputError(f"this flow needs a {wanted}, got {tuple(context.shape)}")
    if context.dtype != like.dtype:
        raise InputError(f"`context` must be {like.dtype} as the flow is, got {context.dtype}")
