"""A flow seen as a `torch.distributions.Distribution`."""

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from caudal.flow import Flow


class FlowDistribution(Distribution):
    """The density of a flow given one context (batch shape ()), or B of them ((B,))."""

    arg_constraints: dict[str, constraints.Constraint] = {}
    has_rsample = True

    def __init__(self, flow: Flow, context: Tensor | None = None) -> None:
        self.flow = flow
        self.context = context
        shape = flow.context_shape or ()
        batch = () if context is None else context.shape[: context.ndim - len(shape)]
        super().__init__(torch.Size(batch), torch.Size(flow.event_shape), validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Of values (*sample, *batch, *event): (*sample, *batch)."""
        leading = value.shape[: value.ndim - len(self.event_shape)]
        rows = value.reshape(-1, *self.event_shape)
        return self.flow.log_prob(rows, self._rows(leading)).reshape(leading)

    def rsample(self, sample_shape: torch.Size | list[int] | tuple[int, ...] = ()) -> Tensor:
        """Reparameterised draws (*sample_shape, *batch, *event)."""
        leading = torch.Size(sample_shape) + self.batch_shape
        n = leading.numel()
        x, _ = self.flow.sample_with_log_prob(n, self._rows(leading))
        return x.reshape(*leading, *self.event_shape)

    def _rows(self, leading: torch.Size) -> Tensor | None:
        if self.context is None:
            return None
        shape = self.context.shape[len(self.batch_shape) :]
        return self.context.expand(*leading, *shape).reshape(-1, *shape)
