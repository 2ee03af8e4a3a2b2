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

    Elements are ordered, and y_i depends only on x_j, j <= i: the Jacobian is lower triangular.
    Each channel has `latents` maps, in the order of the channels. Weights from earlier channels
    and positions are free. Weights from a channel to itself have fixed signs, + for half of the
    maps and - for the other half, such that the product along every path from x_i to y_i is
    positive: y_i increases with x_i, along convex and concave paths. Context (B, E), if any,
    shifts the maps of the first layer. The last layer starts at zero.
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
        # A path from x_i through maps j and k to y_i has sign s_j * s_j s_k * s_k.
        self.first = MaskedWeight((single, plus), (maps, sign), taps, centre)
        self.second = MaskedWeight((maps, sign), (maps, sign), taps, centre)
        self.last = MaskedWeight((maps, sign), (single, plus), taps, centre)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.context = nn.Linear(context, len(maps), bias=False) if context else None
        self.latents = latents

    def extra_repr(self) -> str:
        return f"channels={len(self.last.bias)}, latents={self.latents}"

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        first, second, last = self.first(), self.second(), self.last()
        h = self.product(x, first, self.first.bias)
        if self.context is not None:
            features = cast(Tensor, context).to(h.dtype)  # embeddings can be in half precision
            h = h + self.shift(self.context(features))
        h = F.elu_(h)
        # All factors of the slope are positive: signs cancel and are left out.
        own = self.first.own(first).sum(1) * self.second.own(second)  # (maps, maps)
        slope = self.own_product(_elu_slope(h), own)
        h = F.elu_(self.product(h, second, self.second.bias))
        slope = self.own_product(slope * _elu_slope(h), self.last.own(last))
        return self.product(h, last, self.last.bias), slope

    @abstractmethod
    def product(self, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """The output of a layer for maps h: each position sees itself and earlier ones."""

    @abstractmethod
    def own_product(self, h: Tensor, weight: Tensor) -> Tensor:
        """The product of a weight (outputs, inputs) with the maps of each position alone."""

    @abstractmethod
    def shift(self, values: Tensor) -> Tensor:
        """Reshapes one value for each map, (B, maps), so that it adds to the maps."""


class TriangularMLP(TriangularNet):
    """A triangular net of vectors (B, D), in the order of their columns."""

    def __init__(self, features: int, latents: int, context: int = 0) -> None:
        super().__init__(features, latents, context, torch.ones(()), ())

    def product(self, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return F.linear(h, weight, bias)

    def own_product(self, h: Tensor, weight: Tensor) -> Tensor:
        return F.linear(h, weight)

    def shift(self, values: Tensor) -> Tensor:
        return values


class TriangularConvNet(TriangularNet):
    """A triangular net of images (B, C, H, W), in raster order, channel by channel at each pixel.

    Kernels end with the row of the pixel itself, because the rows below it would be zero.
    """

    def __init__(self, channels: int, latents: int, context: int = 0, size: int = 3) -> None:
        if size % 2 == 0:
            raise ValueError(f"`size` must be odd, so that a kernel has a centre, got {size}")
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
    """The weight of one layer, (outputs, inputs, *taps), masked, with fixed signs on the diagonal.

    Taps before the position are free, and those after it are zero. At the centre, maps see those
    of earlier channels freely, and those of their own channel with |w| times the two signs.
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
        # He's variance, 2 / inputs: with PyTorch's, a sixth of it, these nets learn far slower.
        bound = math.sqrt(6 / (len(channel_in) * float(taps.sum())))
        self.weight = nn.Parameter(_ordered(torch.empty(shape).uniform_(-bound, bound)))
        self.bias = nn.Parameter(torch.empty(shape[0]).uniform_(-bound, bound))

    def forward(self) -> Tensor:
        """The weight in effect."""
        # Here |w| has slope 1 at 0, not 0, because a layer that starts at zero would stay there.
        own_sign = torch.where(self.weight < 0, -self.own_sign, self.own_sign)
        return self.weight * (self.free + own_sign)

    def own(self, weight: Tensor) -> Tensor:
        """The |w| from each channel to itself, elsewhere 0, of a weight in effect: (out, in)."""
        return weight[self.centre] * self.own_sign[self.centre]


def _ordered(weight: Tensor) -> Tensor:
    """Puts the weights of convolutions into the memory order of `dense` images."""
    return dense(weight) if weight.ndim == 4 else weight


def _elu_slope(h: Tensor) -> Tensor:
    """The derivative of elu at a, computed from h = elu(a)."""
    return h.clamp(max=0).add_(1)
