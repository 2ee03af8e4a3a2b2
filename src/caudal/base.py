"""Where the noise comes from."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from caudal.bijection import sum_event


class Base(nn.Module, ABC):
    """A fixed density over noise of shape `event_shape`, every element independent."""

    like: Tensor

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        # Follows `.to(device, dtype)`, and so says where and in what precision to draw.
        self.register_buffer("like", torch.zeros(()), persistent=False)

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of z (B, *event) in nats: (B,)."""

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draws n independent events: (n, *event)."""


class Normal(Base):
    """Standard normal: log p(z) = sum(-z^2/2 - log(2 pi)/2)."""

    def log_prob(self, z: Tensor) -> Tensor:
        elements = math.prod(self.event_shape)
        return -0.5 * sum_event(z.square()) - 0.5 * elements * math.log(2 * math.pi)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        return torch.randn(
            n,
            *self.event_shape,
            generator=generator,
            dtype=self.like.dtype,
            device=self.like.device,
        )


class Logistic(Base):
    """Standard logistic, NICE's prior: log p(z) = sum(-softplus(z) - softplus(-z)).

    Its variance is pi^2/3, so its samples are not those of a standard normal.
    """

    def log_prob(self, z: Tensor) -> Tensor:
        return -sum_event(F.softplus(z) + F.softplus(-z))

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        uniform = torch.rand(
            n,
            *self.event_shape,
            generator=generator,
            dtype=self.like.dtype,
            device=self.like.device,
        )
        tiny = torch.finfo(uniform.dtype).eps
        return torch.logit(uniform.clamp(tiny, 1 - tiny))
