"""Whole numbers: samples of sound and pixels of images, with uniform or learned noise."""

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from caudal.base import FREE
from caudal.bijection import Bijection, in_pieces, sum_event
from caudal.dequantization.protocol import Dequantization
from caudal.numerics import bound, normal, uniform


class IntegerDequantization(Dequantization):
    """Whole numbers v from low to high to y = v + u, u in [0, 1) drawn from q(u|v).

    The log-probability of an event is then a mass, in nats: -log_prob / (elements ln 2) is its
    bits per element, with no further constants. An event with other values has none.
    """

    low: int
    high: int

    def lift(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        u, log_q = self._draw(x, bound(generator, x))
        below = torch.nextafter(x + 1, x)  # rounding must not carry y over to the next value
        y = torch.minimum(x + u, below)
        off = (x != x.round()) | (x < self.low) | (x > self.high)
        return y, torch.where(off.flatten(1).any(1), torch.inf, log_q)

    def lower(self, y: Tensor) -> Tensor:
        return y.floor().clamp(self.low, self.high)

    @abstractmethod
    def _draw(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """A draw of u (B, *event), and log q(u|x), (B,)."""


class AudioDequantization(IntegerDequantization):
    """Samples of `bits` bits, -2^(bits-1) to 2^(bits-1) - 1, with uniform noise; clips (B, 1, T).

    -log_prob / (T ln 2) is a clip's bits a sample, `bits` for a uniform model, whatever the
    output law.
    """

    event_shape = (1, FREE)

    def __init__(self, bits: int = 16) -> None:
        super().__init__()
        self.bits = bits
        self.low, self.high = -self.full_scale, self.full_scale - 1

    def extra_repr(self) -> str:
        return f"bits={self.bits}"

    @property
    def full_scale(self) -> int:
        """The number that an amplitude of 1 would be."""
        return 1 << (self.bits - 1)

    def _draw(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        return uniform(x, generator), x.new_zeros(x.shape[0])


class PixelDequantization(IntegerDequantization):
    """Pixels v in {0 .. levels - 1} to y in [0, levels); bits per element are bits/dim."""

    def __init__(self, event_shape: Sequence[int], levels: int = 256) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.levels = levels
        self.low, self.high = 0, levels - 1

    def extra_repr(self) -> str:
        return f"event_shape={self.event_shape}, levels={self.levels}"

    def lift(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        y, log_q = super().lift(x, generator)
        return y.contiguous(memory_format=_order(x)), log_q


class ImageDequantization(PixelDequantization):
    """Uniform noise, drawn anew each time: q(u|v) = 1.

    In training mode Gaussian noise may come on top, y = v + u + noise_std e with e ~ N(0, 1), so
    that the flow learns the density of noisy images, from which `caudal.denoising` takes the noise
    off. Scores do without it: they bound the mass that the same flow gives to whole pixel values.

    Args:
        event_shape: the shape of an image, (C, H, W).
        levels: the number of values of a pixel.
        noise_std: standard deviation of the Gaussian noise, in steps between values.
    """

    def __init__(
        self, event_shape: Sequence[int], levels: int = 256, noise_std: float = 0.0
    ) -> None:
        super().__init__(event_shape, levels)
        self.noise_std = noise_std

    def extra_repr(self) -> str:
        return super().extra_repr() + (f", noise_std={self.noise_std:g}" if self.noise_std else "")

    def lift(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        generator = bound(generator, x)
        y, log_q = super().lift(x, generator)
        if self.training and self.noise_std:
            y = y + self.noise_std * normal(y, generator)
        return y, log_q

    def _draw(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        return uniform(x, generator), x.new_zeros(x.shape[0])


class VariationalDequantization(PixelDequantization):
    """Noise from a conditional flow q(u|v), learned with the model: a tighter bound.

    u = sigmoid(noise.forward(e; features(v))) with e ~ N(0, 1), so that
    log q = log N(e) - log|det| - sum log u (1 - u). Its scores are not comparable with those of
    uniform noise.
    Reference: Flow++ (Ho, Chen, Srinivas, Duan, Abbeel, 2019), arXiv:1902.00275.

    Args:
        event_shape: the shape of an image, (C, H, W).
        noise: a bijection of the image's shape, from e to logit u; its context is `features(v)`.
        features: a net from pixels scaled to [-1, 1], (B, C, H, W), to (B, E, H, W).
        levels: the number of values of a pixel.
    """

    def __init__(
        self, event_shape: Sequence[int], noise: Bijection, features: nn.Module, levels: int = 256
    ) -> None:
        super().__init__(event_shape, levels)
        self.noise = noise
        self.features = features

    def _draw(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        e = normal(x, generator)
        v, log_det = in_pieces(self._logits, e, x)  # its activations are many times the images
        log_normal = sum_event(-0.5 * e.square() - 0.5 * math.log(2 * math.pi))
        log_slope = sum_event(F.logsigmoid(v) + F.logsigmoid(-v))
        return torch.sigmoid(v), log_normal - log_det - log_slope

    def _logits(self, e: Tensor, x: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logit u from normal noise e, given the image, and the log|det| of that map."""
        assert x is not None
        return self.noise(e, self.features(2 * x / (self.levels - 1) - 1))


def _order(x: Tensor) -> torch.memory_format:
    """For images, the memory order in which convolutions are fastest."""
    return torch.channels_last if x.ndim == 4 else torch.contiguous_format
