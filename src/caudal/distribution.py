"""A flow as a `torch.distributions.Distribution`."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.kl import register_kl

from caudal.broadcasting import Rowlike, as_rows, broadcast, fits, leading
from caudal.errors import InputError
from caudal.flow import Flow

DRAWS = 1024
"""Draws of an expectation, unless another number is asked for."""


class FlowDistribution(Distribution):
    """The density of a flow given one context (batch shape ()), or B of them ((B,)).

    Raises:
        InputError: the context does not fit the flow.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    has_rsample = True

    def __init__(self, flow: Flow, context: Rowlike | None = None) -> None:
        context = None if context is None else as_rows(context, flow.base.like)
        flow.check_context(context)
        self.flow = flow
        self.context = context
        batch = () if context is None else leading(context, flow.context_shape or ())
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
        if broadcast(tuple(self.batch_shape), tuple(batch)) != batch:
            raise InputError(
                f"cannot expand batch shape {tuple(self.batch_shape)} to {tuple(batch)}"
            )
        new = self._get_checked_instance(FlowDistribution, _instance)
        new.flow = self.flow
        new.context = self._contexts(batch)
        Distribution.__init__(new, batch, self.event_shape, validate_args=False)
        return new

    def log_prob(self, value: Rowlike) -> Tensor:
        """Log-density of values (*sample, *batch, *event), which broadcast: (*sample, *batch)."""
        value = as_rows(value, self.flow.base.like)
        shape = None
        if fits(value, self.event_shape):
            shape = broadcast(leading(value, self.event_shape), self.batch_shape)
        if shape is None:
            raise InputError(
                f"`value` must have shape (*sample, *batch, *event) for batch shape "
                f"{tuple(self.batch_shape)} and event shape {tuple(self.event_shape)}, "
                f"got {tuple(value.shape)}"
            )
        rows = value.expand(*shape, *value.shape[value.ndim - len(self.event_shape) :])
        return self.flow.log_prob(rows, self.context)

    def sample(
        self,
        sample_shape: Sequence[int] = (),
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draws (*sample_shape, *batch, *event), without gradient."""
        return self.flow.sample(*self._asked(sample_shape), generator=generator)

    def rsample(
        self,
        sample_shape: Sequence[int] = (),
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Reparameterised draws (*sample_shape, *batch, *event)."""
        return self.rsample_with_log_prob(sample_shape, generator)[0]

    def rsample_with_log_prob(
        self,
        sample_shape: Sequence[int] = (),
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Reparameterised draws and their log-density in nats, (*sample_shape, *batch)."""
        return self.flow.sample_with_log_prob(*self._asked(sample_shape), generator=generator)

    def entropy(self, draws: int = DRAWS, generator: torch.Generator | None = None) -> Tensor:
        """The entropy -E log p(x) in nats, (*batch): the mean over draws, with gradients.

        Its standard error is the deviation of log p over the root of the number of draws.
        """
        return -self.rsample_with_log_prob((draws,), generator)[1].mean(0)

    def _asked(self, sample_shape: Sequence[int]) -> tuple[tuple[int, ...], Tensor | None]:
        """The shape of draws for each context, or of all of them where there is none."""
        if self.context is None:
            return (*sample_shape, *self.batch_shape), None
        return tuple(sample_shape), self.context

    def _contexts(self, leading: torch.Size) -> Tensor | None:
        """The contexts of events of batch shape `leading`."""
        if self.context is None:
            return None
        return self.context.expand(*leading, *self.context.shape[len(self.batch_shape) :])


@register_kl(FlowDistribution, FlowDistribution)
@register_kl(FlowDistribution, Distribution)
@register_kl(Distribution, FlowDistribution)
def _kl(p: Distribution, q: Distribution) -> Tensor:
    """KL(p || q) = E_p[log p(x) - log q(x)] in nats, (*batch): the mean over draws of p."""
    if isinstance(p, FlowDistribution):
        x, log_p = p.rsample_with_log_prob((DRAWS,))
    else:
        x = p.rsample((DRAWS,)) if p.has_rsample else p.sample((DRAWS,))
        log_p = p.log_prob(x)
    return (log_p - q.log_prob(x)).mean(0)
