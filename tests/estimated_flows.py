"""A bijection whose log-det is estimated with noise that is known, for tests."""

from dataclasses import dataclass
from math import prod

import torch

from caudal.base import Normal
from caudal.bijection import Estimated
from caudal.flow import Flow
from caudal.numerics import generator_in_use, normal
from caudal.recipes import Recipe

BIAS, BOUND = 0.25, 0.375  # of a biased one, in nats


class Noisy(Estimated):
    """x = z exp(a) of each element; the log-det is off by Gaussian noise of deviation `std`."""

    def __init__(self, event_shape, kind="unbiased", std=0.5):
        super().__init__()
        self.log_scale = torch.nn.Parameter(torch.linspace(-1, 1, prod(event_shape) + 1)[:-1])
        self.event_shape, self._kind, self.std = tuple(event_shape), kind, std

    @property
    def kind(self):
        return self._kind

    def bias_bound(self):
        return BOUND if self.kind == "biased" else 0.0

    def forward(self, z, context=None):
        return z * self.log_scale.view(self.event_shape).exp(), -self._log_det(z)

    def inverse(self, x, context=None):
        return x * (-self.log_scale).view(self.event_shape).exp(), self._log_det(x)

    def _log_det(self, x):
        exact = -self.log_scale.sum()
        if self.kind == "exact":
            return exact.expand(len(x))
        bias = BIAS if self.kind == "biased" else 0.0
        return exact + bias + self.std * self._noise(x)

    def _noise(self, x):
        like, generator = {"dtype": x.dtype, "device": x.device}, generator_in_use()
        if self.training:
            return torch.randn(len(x), **like)
        if generator is None:
            fixed = torch.Generator(x.device).manual_seed(5)
            return torch.randn(1, generator=fixed, **like).expand(len(x))
        return normal(torch.empty(len(x), **like), generator)


@dataclass(frozen=True)
class NoisyRecipe(Recipe):
    """For tests only."""

    name = "noisy"
    paper, year, good_for, scores, samples = "none", 2000, "tests", "parallel", "parallel"
    images = True

    kind: str = "unbiased"
    std: float = 0.5

    def _build(self, event_shape, context_shape=None):
        shape = tuple(event_shape)
        bijection = Noisy(shape, self.kind, self.std)
        return Flow(bijection, Normal(shape), context_shape=context_shape)
