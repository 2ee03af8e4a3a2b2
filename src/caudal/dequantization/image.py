"""Pixels, which are whole numbers, to numbers a continuous flow can model."""

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from caudal.bijection import Bijection, in_pieces, sum_event
from caudal.dequantization.protocol import Dequantization, uniform


class PixelDequantization(Dequantization):
    """Pixels v in {0 .. levels - 1} to y = v + u in [0, levels), u in [0, 1) drawn from q(u|v).

    The log-probability of an image is then a mass, in nats: -log_prob / (elements ln 2) is its
    bits/dim, with no further constants. An image with other values than these has none.
    """

    def __init__(self, event_shape: Sequence[int], levels: int = 256) -> None:
        super().__init__()
        self.event_shape = tuple(event_shape)
        self.levels = levels

    def lift(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        u, log_q = self._draw(x, generator)
        # What rounding could carry over to the next value stays below it.
        below = torch.nextafter(x + 1, x)
        y = torch.minimum(x + u, below).contiguous(memory_format=_order(x))
        off = (x != x.round()) | (x < 0) | (x > self.levels - 1)
        return y, torch.where(off.flatten(1).any(1), torch.inf, log_q)

    def lower(self, y: Tensor) -> Tensor:
        return y.floor().clamp(0, self.levels - 1)

    def observe(self, x: Tensor) -> None:
        return None

    @abstractmethod
    def _draw(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """A draw of u (B, *event), and log q(u|x), (B,)."""


class ImageDequantization(PixelDequantization):
    """Uniform noise, drawn anew each time: q(u|v) = 1."""

    def _draw(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        return uniform(x, generator), x.new_zeros(x.shape[0])


class VariationalDequantization(PixelDequantization):
    """Noise from a conditional flow q(u|v), learned with the model: a tighter bound.

    u = sigmoid(noise.forward(e; features(v))) with e ~ N(0, 1), so that
    log q = log N(e) - log|det| - sum log u (1 - u). Figures with it are not to be compared with
    those of uniform noise.
    Reference: Flow++ (Ho, Chen, Srinivas, Duan, Abbeel, 2019), arXiv:1902.00275.

    Args:
        event_shape: of an image, (C, H, W).
        noise: a bijection of the image's shape, from e to logit u; its context is `features(v)`.
        features: (B, C, H, W), pixels scaled to [-1, 1], to (B, E, H, W).
        levels: values a pixel can have.
    """

    def __init__(
        self, event_shape: Sequence[int], noise: Bijection, features: nn.Module, levels: int = 256
    ) -> None:
        super().__init__(event_shape, levels)
        self.noise = noise
        self.features = features

    def _draw(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        e = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        v, log_det = in_pieces(self._logits, e, x)  # their maps are many times the images
        log_normal = sum_event(-0.5 * e.square() - 0.5 * math.log(2 * math.pi))
        log_slope = sum_event(F.logsigmoid(v) + F.logsigmoid(-v))
        return torch.sigmoid(v), log_normal - log_det - log_slope

    def _logits(self, e: Tensor, x: Tensor | None) -> tuple[Tensor, Tensor]:
        """Logit u from normal noise e, given the image, and log|det| of that."""
        assert x is not None
        return self.noise.forward(e, self.features(2 * x / (self.levels - 1) - 1))


def _order(x: Tensor) -> torch.memory_format:
    """Of images, that in which convolutions are fastest."""
    return torch.channels_last if x.ndim == 4 else torch.contiguous_format
