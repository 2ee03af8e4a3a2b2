"""Base densities: the noise from which a flow makes data."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from copy import copy
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from caudal.bijection import sum_event
from caudal.errors import InputError
from caudal.numerics import drawn, own_generator

FREE = -1
"""Marks a dimension of an event whose length differs from batch to batch, as that of audio."""


class Base(nn.Module, ABC):
    """A fixed density over noise of shape `event_shape`.

    A dimension may be FREE (-1): its length is the same within a batch, and is given to `sample`.
    """

    like: Tensor

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        # This buffer follows `.to(device, dtype)`: draws are made on its device, in its dtype.
        self.register_buffer("like", torch.zeros(()), persistent=False)

    def extra_repr(self) -> str:
        return f"event_shape={self.event_shape}"

    def reshaped(self, event_shape: Sequence[int]) -> "Base":
        """The same density of noise of another shape, whose elements are in the same order."""
        return Reshaped(self, event_shape)

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Log-density of z (B, *event) in nats: (B,)."""

    @abstractmethod
    def sample(
        self, n: int, generator: torch.Generator | None = None, length: int | None = None
    ) -> Tensor:
        """Draws n independent events, (n, *event); `length` is for events whose length is free.

        Raises:
            InputError: `length` is missing, or the length is not free.
        """

    def _options(self, generator: torch.Generator | None) -> dict[str, Any]:
        """Keywords of a draw: the generator (by default this thread's), dtype and device."""
        like, generator = self.like, generator or own_generator(self.like.device)
        return {"generator": generator, "dtype": like.dtype, "device": like.device}

    def _drawn(
        self, draw: Callable[..., Tensor], shape: Sequence[int], generator: torch.Generator | None
    ) -> Tensor:
        """`draw(shape)`, such as `torch.rand`, of which a process has its share."""
        options = self._options(generator)
        return drawn(lambda shape: draw(shape, **options), shape)


class Reshaped(Base):
    """Another base whose noise has another shape: log p(z) = log p_base(z as the base has it).

    Args:
        base: of noise of a fixed shape, with as many elements.
        event_shape: of the noise here.
    """

    def __init__(self, base: Base, event_shape: Sequence[int]) -> None:
        super().__init__(event_shape)
        self.base = base

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, {self.base!r}"

    def reshaped(self, event_shape: Sequence[int]) -> Base:
        same = tuple(event_shape) == self.base.event_shape
        return self.base if same else Reshaped(self.base, event_shape)

    def log_prob(self, z: Tensor) -> Tensor:
        return self.base.log_prob(z.reshape(z.shape[0], *self.base.event_shape))

    def sample(
        self, n: int, generator: torch.Generator | None = None, length: int | None = None
    ) -> Tensor:
        return self.base.sample(n, generator, length).reshape(n, *self.event_shape)


class Independent(Base):
    """A base whose elements are independent and follow one law, symmetric about zero."""

    def reshaped(self, event_shape: Sequence[int]) -> "Independent":
        other = copy(self)
        other.event_shape = tuple(event_shape)
        return other

    def log_prob(self, z: Tensor) -> Tensor:
        return sum_event(self.log_density(z))

    @abstractmethod
    def log_density(self, z: Tensor) -> Tensor:
        """Log-density of each element in nats, of the shape of z."""

    @abstractmethod
    def log_cdf(self, z: Tensor) -> Tensor:
        """Log-probability of a value below each element of z."""

    @abstractmethod
    def quantile(self, level: Tensor) -> Tensor:
        """The value below which each share of the law lies, of the shape of `level`, in (0, 1)."""

    @property
    @abstractmethod
    def entropy(self) -> float:
        """The entropy of one element, in nats."""

    @abstractmethod
    def draw(self, *shape: int, generator: torch.Generator | None = None) -> Tensor:
        """Independent elements, of any shape."""

    def sample(
        self, n: int, generator: torch.Generator | None = None, length: int | None = None
    ) -> Tensor:
        return self.draw(n, *sized(self.event_shape, length), generator=generator)


class Normal(Independent):
    """Standard normal: log p(z) = sum(-z^2/2 - log(2 pi)/2)."""

    def log_density(self, z: Tensor) -> Tensor:
        return -0.5 * z.square() - 0.5 * math.log(2 * math.pi)

    def log_cdf(self, z: Tensor) -> Tensor:
        return torch.special.log_ndtr(z)

    def quantile(self, level: Tensor) -> Tensor:
        return torch.special.ndtri(level)

    @property
    def entropy(self) -> float:
        return 0.5 * math.log(2 * math.pi * math.e)

    def draw(self, *shape: int, generator: torch.Generator | None = None) -> Tensor:
        return self._drawn(torch.randn, shape, generator)


class Logistic(Independent):
    """Standard logistic, NICE's prior: log p(z) = sum(-softplus(z) - softplus(-z)).

    Its variance is pi^2/3, not 1.
    """

    def log_density(self, z: Tensor) -> Tensor:
        return -(F.softplus(z) + F.softplus(-z))

    def log_cdf(self, z: Tensor) -> Tensor:
        return F.logsigmoid(z)

    def quantile(self, level: Tensor) -> Tensor:
        return torch.logit(level)

    @property
    def entropy(self) -> float:
        return 2.0

    def draw(self, *shape: int, generator: torch.Generator | None = None) -> Tensor:
        uniform = self._drawn(torch.rand, shape, generator)
        tiny = torch.finfo(uniform.dtype).eps
        return torch.logit(uniform.clamp(tiny, 1 - tiny))


class Uniform(Independent):
    """Uniform on [-1, 1]: log p(z) = -log 2 for each element, -inf outside."""

    def log_density(self, z: Tensor) -> Tensor:
        return torch.where(z.abs() <= 1, -math.log(2), -torch.inf).to(z.dtype)

    def log_cdf(self, z: Tensor) -> Tensor:
        return ((z.clamp(-1, 1) + 1) / 2).log()

    def quantile(self, level: Tensor) -> Tensor:
        return 2 * level - 1

    @property
    def entropy(self) -> float:
        return math.log(2)

    def draw(self, *shape: int, generator: torch.Generator | None = None) -> Tensor:
        return 2 * self._drawn(torch.rand, shape, generator) - 1


class StudentT(Base):
    """Independent Student-t elements: log p(z) = sum(c - (nu + 1)/2 log(1 + z^2 / nu)).

    Its tails fall like |z|^-(nu + 1), and a flow keeps such tails. With normal noise, importance
    weights of heavy-tailed data are unbounded.

    Args:
        event_shape: of the noise.
        freedom: nu > 0; the variance is nu / (nu - 2), for nu > 2.

    Reference: Jaini, Kobyzev, Yu, Brubaker, Tails of Lipschitz triangular flows, 2020,
    arXiv:1907.04481.
    """

    def __init__(self, event_shape: Sequence[int], freedom: float = 5.0) -> None:
        super().__init__(event_shape)
        if not freedom > 0:
            raise ValueError(f"`freedom` must be positive, got {freedom}")
        self.freedom = freedom

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, freedom={self.freedom:g}"

    def log_prob(self, z: Tensor) -> Tensor:
        nu = self.freedom
        constant = math.lgamma((nu + 1) / 2) - math.lgamma(nu / 2) - 0.5 * math.log(math.pi * nu)
        return sum_event(constant - 0.5 * (nu + 1) * (z.square() / nu).log1p())

    def sample(
        self, n: int, generator: torch.Generator | None = None, length: int | None = None
    ) -> Tensor:
        """By Bailey's polar method: z = sqrt(nu (u^(-2/nu) - 1)) cos(2 pi v), u, v uniform."""
        shape = (n, *sized(self.event_shape, length))
        options = self._options(generator)
        if self.like.device.type != "mps":  # which has no float64
            options["dtype"] = torch.float64
        u, v = drawn(
            lambda shape: torch.rand((2, *shape), **options).movedim(0, -1), shape
        ).unbind(-1)
        u = u.clamp(min=torch.finfo(self.like.dtype).tiny)
        radius = (self.freedom * torch.expm1(-2 / self.freedom * u.log())).sqrt()
        return (radius * torch.cos(2 * math.pi * v)).to(self.like)


class GaussianMixture(Base):
    """The mean of K Gaussian densities: log p(z) = log mean_k N(z; m_k, s^2 I).

    A flow on one normal base must stretch thin bridges between modes; on a mixture it need not.

    Args:
        means: m, (K, *event).
        std: s > 0, of all elements.
    """

    means: Tensor

    def __init__(self, means: Tensor, std: float = 1.0) -> None:
        super().__init__(tuple(means.shape[1:]))
        if means.ndim < 2 or not len(means):
            raise ValueError(f"`means` must be (K, *event), got {tuple(means.shape)}")
        if not std > 0:
            raise ValueError(f"`std` must be positive, got {std}")
        self.register_buffer("means", means)
        self.std = std

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, {len(self.means)} Gaussians, std={self.std:g}"

    def log_prob(self, z: Tensor) -> Tensor:
        u = (z.unsqueeze(1) - self.means).flatten(2) / self.std  # (B, K, D)
        constant = u.shape[2] * (math.log(self.std) + 0.5 * math.log(2 * math.pi))
        return (-0.5 * u.square().sum(2)).logsumexp(1) - math.log(len(self.means)) - constant

    def sample(
        self, n: int, generator: torch.Generator | None = None, length: int | None = None
    ) -> Tensor:
        options = {**self._options(generator), "dtype": torch.int64}
        mode = drawn(lambda shape: torch.randint(len(self.means), shape, **options), (n,))
        noise = self._drawn(torch.randn, (n, *sized(self.event_shape, length)), generator)
        return self.means[mode].to(self.like) + self.std * noise


def sized(event_shape: tuple[int, ...], length: int | None) -> tuple[int, ...]:
    """The event shape with `length` in place of its free length.

    Raises:
        InputError: `length` is missing, or not positive, or the length is not free.
    """
    free = FREE in event_shape
    if free != (length is not None):
        events = "have a free length: give `length`" if free else "have a fixed shape: no `length`"
        raise InputError(f"events {event_shape} {events}")
    if length is not None and length < 1:
        raise InputError(f"`length` {length}: must be at least 1")
    return tuple(length if length and size == FREE else size for size in event_shape)
