"""Flows of ours as density estimators of the package `sbi`."""

from collections.abc import Callable
from typing import Any

import torch
from sbi.neural_nets.estimators.base import ConditionalDensityEstimator
from torch import Tensor, nn
from torch.distributions import Distribution

from caudal.flow import Flow
from caudal.initialization import initialize
from caudal.recipes import Recipe
from caudal.sbi.assembly import assemble
from caudal.sbi.prior import bounds_of


def density_estimator(
    recipe: Recipe | None = None,
    *,
    prior: Distribution | None = None,
    embedding: nn.Module | None = None,
) -> Callable[[Tensor, Tensor], "FlowEstimator"]:
    """What `NPE(prior, density_estimator=...)`, or `NLE`, of `sbi` builds its estimator with.

    Statistics come from the first rows, and training is that of `sbi`.

    Args:
        recipe: of the flow; autoregressive splines with dropout if not given.
        prior: of the parameters, whose support the flow then has, so that no posterior leaks.
        embedding: a net from observations (B, ...) to features (B, F).
    """
    bounds = None if prior is None else bounds_of(prior)

    def build(theta: Tensor, x: Tensor) -> FlowEstimator:
        flow = assemble(recipe, bounds, theta.shape[1], x.shape[1:], embedding)
        initialize(flow, theta, x)
        return FlowEstimator(flow, theta.shape[1:], x.shape[1:])

    return build


class FlowEstimator(ConditionalDensityEstimator):
    """A conditional flow with the interface of `sbi`: samples first, then observations."""

    net: Flow

    @property
    def embedding_net(self) -> nn.Module | None:
        return self.net.embedding

    def log_prob(self, input: Tensor, condition: Tensor, **_: Any) -> Tensor:
        input, condition, batch = self._broadcast_and_align(input, condition)
        rows, context = input.flatten(0, 1), condition.flatten(0, 1)
        return self.net.log_prob(rows.contiguous(), context.contiguous()).view(-1, batch)

    def loss(self, input: Tensor, condition: Tensor, **_: Any) -> Tensor:
        return -self.net.log_prob(input, condition)

    def sample(self, sample_shape: torch.Size, condition: Tensor, **_: Any) -> Tensor:
        n = torch.Size(sample_shape).numel()
        context = condition.repeat(n, *[1] * (condition.ndim - 1))
        drawn = self.net.sample(len(context), context)
        return drawn.view(*sample_shape, len(condition), *self.input_shape)

    def sample_and_log_prob(
        self, sample_shape: torch.Size, condition: Tensor, **_: Any
    ) -> tuple[Tensor, Tensor]:
        n = torch.Size(sample_shape).numel()
        context = condition.repeat(n, *[1] * (condition.ndim - 1))
        drawn, log_prob = self.net.sample_with_log_prob(len(context), context)
        leading = (*sample_shape, len(condition))
        return drawn.view(*leading, *self.input_shape), log_prob.view(leading)
