"""Nets with a triangular Jacobian, whose diagonal comes with the value: MintNet's."""

import math
from abc import ABC, abstractmethod
from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from caudal.nets.conv import dense, per_map


class TriangularNet(nn.Module, ABC):
    """x to (y, slope): y = W3 elu(W2 elu(W1 x + b1) + b2) + b3, slope_i = dy_i / dx_i >= 0, exact.

    Elements have an order, and y_i depends on x_j with j <= i alone: the Jacobian is lower
    triangular. Each channel has `latents` maps, in the order of the channels. Weights from what
    comes before are free; those of a channel to itself have fixed signs, half of the maps +, half
    -, such that every product along a way from x_i to y_i is positive: y_i grows with x_i, in
    convex and in concave ways. Context (B, E), if any, shifts the maps of the first layer. The
    last layer starts at zero.
    Reference: MintNet: building invertible neural networks with masked convolutions (Song, Meng,
    Ermon, 2019), arXiv:1907.07945.
    """

    def __init__(
        self, channels: int, latents: int, context: int, taps: Tensor, centre: tuple[int, ...]
    ) -> None:
        super().__init__()
        maps = torch.arange(channels).repeat_interleave(latents)
        single = torch.arange(channels)
        sign = 1 - 2 * (torch.arange(latents) % 2).repeat(channels)
        plus = torch.ones_like(single)
        # A way from x_i through maps j and k to y_i has sign s_j * s_j s_k * s_k.
        self.first = MaskedWeight((single, plus), (maps, sign), taps, centre)
        self.second = MaskedWeight((maps, sign), (maps, sign), taps, centre)
        self.last = MaskedWeight((maps, sign), (single, plus), taps, centre)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.context = nn.Linear(context, len(maps), bias=False) if context else None

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        first, second, last = self.first(), self.second(), self.last()
        h = self.product(x, first, self.first.bias)
        if self.context is not None:
            given = cast(Tensor, context).to(h.dtype)  # an embedding's may be in half precision
            h = h + self.shift(self.context(given))
        h = F.elu_(h)
        # All factors of the slope are positive: signs, which cancel, are left out.
        own = self.first.own(first).sum(1) * self.second.own(second)  # (maps, maps)
        slope = self.own_product(_elu_slope(h), own)
        h = F.elu_(self.product(h, second, self.second.bias))
        slope = self.own_product(slope * _elu_slope(h), self.last.own(last))
        return self.product(h, last, self.last.bias), slope

    @abstractmethod
    def product(self, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """What a layer makes of maps h: each position sees itself and those before it."""

    @abstractmethod
    def own_product(self, h: Tensor, weight: Tensor) -> Tensor:
        """Weight (outputs, inputs) times the maps of each position alone."""

    @abstractmethod
    def shift(self, values: Tensor) -> Tensor:
        """One value for each map, (B, maps), in the shape to go with the maps."""


class TriangularMLP(TriangularNet):
    """Of vectors (B, D), in the order of their columns."""

    def __init__(self, features: int, latents: int, context: int = 0) -> None:
        super().__init__(features, latents, context, torch.ones(()), ())

    def product(self, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.linear(h, weight, bias)

    def own_product(self, h: Tensor, weight: Tensor) -> Tensor:
        return F.linear(h, weight)

    def shift(self, values: Tensor) -> Tensor:
        return values


class TriangularConvNet(TriangularNet):
    """Of images (B, C, H, W), in raster order, at each position channel after channel.

    Kernels end with the row of the position itself: the rows below would be zero.
    """

    def __init__(self, channels: int, latents: int, context: int = 0, size: int = 3) -> None:
        if size % 2 == 0:
            raise ValueError(f"size must be odd, so that a kernel has a centre, got {size}")
        half = size // 2
        taps = torch.ones(half + 1, size)
        taps[half, half + 1 :] = 0
        super().__init__(channels, latents, context, taps, (half, half))
        self.reach = half

    def product(self, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        padded = F.pad(dense(h), (0, 0, self.reach, 0))
        return F.conv2d(padded, weight, bias, padding=(0, self.reach))

    def own_product(self, h: Tensor, weight: Tensor) -> Tensor:
        return F.conv2d(dense(h), weight[..., None, None])

    def shift(self, values: Tensor) -> Tensor:
        return per_map(values)


Maps = tuple[Tensor, Tensor]
"""The channel that each map belongs to, and its sign."""


class MaskedWeight(nn.Module):
    """The weight of one layer, (outputs, inputs, *taps): masked, and of fixed signs where own.

    Of the taps, those of positions before are free and those after zero; at the centre maps see
    those of the channels before, freely, and those of their own channel, with |w| times the
    product of the two signs.
    """

    free: Tensor
    own_sign: Tensor

    def __init__(self, inputs: Maps, outputs: Maps, taps: Tensor, centre: tuple[int, ...]) -> None:
        super().__init__()
        (channel_in, sign_in), (channel_out, sign_out) = inputs, outputs
        shape = (len(channel_out), len(channel_in), *taps.shape)
        self.centre: tuple[Any, ...] = (slice(None), slice(None), *centre)
        before, same = channel_out[:, None] > channel_in, channel_out[:, None] == channel_in
        free, own_sign = taps.expand(shape).clone(), torch.zeros(shape)
        free[self.centre] = before.to(free)
        own_sign[self.centre] = (same * sign_out[:, None] * sign_in).to(free)
        self.register_buffer("free", _ordered(free), persistent=False)
        self.register_buffer("own_sign", _ordered(own_sign), persistent=False)
        # He's variance, 2 / inputs: from PyTorch's, a sixth of it, these nets learn far slower.
        bound = math.sqrt(6 / (len(channel_in) * float(taps.sum())))
        self.weight = nn.Parameter(_ordered(torch.empty(shape).uniform_(-bound, bound)))
        self.bias = nn.Parameter(torch.empty(shape[0]).uniform_(-bound, bound))

    def forward(self) -> Tensor:
        """The weight in effect."""
        # At 0 |w| has slope 1 here, not 0: a layer that starts at zero would never leave it.
        own_sign = torch.where(self.weight < 0, -self.own_sign, self.own_sign)
        return self.weight * (self.free + own_sign)

    def own(self, weight: Tensor) -> Tensor:
        """|w| of a weight in effect, from each channel to itself, elsewhere 0: (out, in)."""
        return weight[self.centre] * self.own_sign[self.centre]


def _ordered(weight: Tensor) -> Tensor:
    """In the order in memory of `dense` images, if it is of them."""
    return dense(weight) if weight.ndim == 4 else weight


def _elu_slope(h: Tensor) -> Tensor:
    """The derivative of h = elu(a), told from h."""
    return h.clamp(max=0).add_(1)
