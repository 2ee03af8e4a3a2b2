"""Reading peers' nets as ours, and copying their weights into ours, for test_peers.py."""

import math

import torch
import torch.nn.functional as F  # noqa: N812
from nflows.transforms import autoregressive, coupling
from torch import nn
from zuko.transforms import MonotonicAffineTransform, MonotonicRQSTransform

from caudal.elementwise import Affine, RationalQuadraticSpline
from caudal.elementwise.affine import soft_bound
from caudal.nets import MADE

D, BINS, BOUND = 5, 6, 3.0
SPLINE = RationalQuadraticSpline(BINS, BOUND)
ZERO_SLOPE = math.log(math.expm1(1 - SPLINE.min_slope))  # the raw slope that makes 1


# Peers read a net's output in their own ways; these make them read it as we do.


def affine_for_nflows(mu, raw):
    """Ours as scale and shift: z = x * scale + shift."""
    scale = (-soft_bound(raw, Affine().bound)).exp()
    return scale, -mu * scale


class AffineAR(autoregressive.MaskedAffineAutoregressiveTransform):
    def _unconstrained_scale_and_shift(self, autoregressive_params):
        scale, shift = affine_for_nflows(*autoregressive_params.unflatten(1, (-1, 2)).unbind(2))
        return inverse_softplus(scale - self._epsilon), shift


class AffineCoupling(coupling.AffineCouplingTransform):
    def _scale_and_shift(self, transform_params):
        return affine_for_nflows(*transform_params.chunk(2, 1))


def affine_for_zuko(mu, raw):
    minus_alpha = -soft_bound(raw, Affine().bound)
    free = unbounded(minus_alpha, math.log(1e3))
    return MonotonicAffineTransform(-mu * minus_alpha.exp(), free, slope=1e-3)


def spline_for_zuko(widths, heights, slopes):
    def log_sizes(raw):
        sizes = SPLINE.min_size + (1 - BINS * SPLINE.min_size) * raw.softmax(-1)
        return sizes.log() - sizes.log().mean(-1, keepdim=True)

    log_slopes = (SPLINE.min_slope + F.softplus(slopes + ZERO_SLOPE)).log()
    limit = math.log(1e9)
    return MonotonicRQSTransform(
        unbounded(log_sizes(widths), limit / 2),
        unbounded(log_sizes(heights), limit / 2),
        unbounded(log_slopes, limit),
        bound=BOUND,
        slope=1e-9,
    )


def unbounded(value, limit):
    """The a for which zuko's a / (1 + |a| / limit) is `value`."""
    return value / (1 - value.abs() / limit)


def inverse_softplus(value):
    return value + (-(-value).expm1()).log()


class NoContext(nn.Sequential):
    """A net for nflows, which hands every net a context."""

    def forward(self, x, context=None):
        return super().forward(x if context is None else torch.cat([x, context], 1))


# Copies of weights, the hidden units sorted by what they see.


def copy_masked(net: MADE, layers: list[nn.Linear], flipped: bool, context=None):
    """The masked linear layers of a peer, first to last, to our MADE."""
    order = torch.arange(D).flip(0) if flipped else torch.arange(D)
    sees = torch.eye(D, dtype=torch.bool)
    columns = order
    ours = [*net.layers, net.last]
    for layer, mine in zip(layers, ours, strict=True):
        weight, mask = layer.weight, layer.mask.bool()
        if layer is layers[0] and context is None and weight.shape[1] > D:
            context = weight[:, D:]
        if layer is layers[0]:
            weight, mask = weight[:, :D], mask[:, :D]
        sees = (mask.double() @ sees.double()) > 0
        if mine is net.last:
            rows = torch.arange(len(weight)).view(D, -1)[order].flatten()
        else:
            rows = sees.sum(1).argsort(stable=True)
        free = len(mine.bias) - len(rows)  # our units of degree 0, which see the context alone
        skipped = mine.weight.shape[1] - len(columns)
        mine.weight.zero_()[free:, skipped:] = (weight * mask)[rows][:, columns]
        mine.bias.zero_()[free:] = layer.bias[rows]
        if layer is layers[0] and context is not None:
            net.context.weight.zero_()[free:] = context[rows]
        columns = rows


def copy_plain(ours: list[nn.Linear], layers: list[nn.Linear]):
    for mine, layer in zip(ours, layers, strict=True):
        mine.weight.copy_(layer.weight)
        mine.bias.copy_(layer.bias)


def by_parameter(last: nn.Linear, features: int):
    """Peers have the parameters of an element side by side; our MLPs, the elements of one."""
    rows = torch.arange(last.bias.numel()).view(features, -1).t().flatten()
    last.weight.copy_(last.weight[rows])
    last.bias.copy_(last.bias[rows])


def rescale_spline(last: nn.Linear, features: int, units: float):
    """nflows divides sizes by sqrt(units) where the net tells them, and has slope 1 not at 0."""
    rows = torch.arange(last.bias.numel()).view(features, -1)
    last.weight[rows[:, : 2 * BINS]] /= units**0.5
    last.bias[rows[:, : 2 * BINS]] /= units**0.5
    last.bias[rows[:, 2 * BINS :]] -= ZERO_SLOPE


def linears(module: nn.Module):
    """Of torch or of zuko, which has its own."""
    return [part for part in module.modules() if hasattr(part, "weight")]
