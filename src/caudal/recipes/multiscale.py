"""What image flows share: scales of half the resolution, and variational dequantisation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import caudal
from caudal.recipes.recipe import Shape

if TYPE_CHECKING:
    from torch import Tensor

MOST_SCALES = 3
"""The largest default number of scales."""


def squeezed_shape(shape: Shape) -> Shape:
    """The shape of an image whose squares of 2 x 2 pixels have become channels."""
    channels, height, width = shape
    return 4 * channels, height // 2, width // 2


def check_halvings(name: str, shape: Shape, halvings: int, fitting: int) -> None:
    """Refuses images that cannot be halved so many times.

    Args:
        name: the recipe's name.
        shape: the image's shape (C, H, W).
        halvings: how many times height and width are halved.
        fitting: the largest number of scales that this shape allows, 0 if none.

    Raises:
        ValueError: names sizes that can be halved, and how many scales this size allows.
    """
    height, width = shape[1:]
    unit = 2**halvings
    if height % unit == 0 and width % unit == 0:
        return
    high, wide = _near(height, unit), _near(width, unit)
    sizes = f"{high}x{wide} (`resize=({high}, {wide})`)"
    fewer = f", or {fitting} scale{'s' * (fitting > 1)}" if fitting else ""
    raise ValueError(
        f"{name} halves images {halvings} time{'s' * (halvings > 1)}, so height and width must be "
        f"multiples of {unit}: {height}x{width} will not do; try images of {sizes}{fewer}"
    )


def halvings_of(shape: Shape) -> int:
    """How many times height and width can be halved."""
    both = math.gcd(*shape[1:])
    return (both & -both).bit_length() - 1


def checkerboard(shape: Shape, layer: int) -> Tensor:
    """The mask (C, H, W) that keeps the squares of one colour, the other colour in odd layers."""
    import torch

    channels, height, width = shape
    if height * width < 2:
        raise ValueError("a checkerboard needs at least 2 pixels, 1x1 has one: take fewer scales")
    board = (torch.arange(height)[:, None] + torch.arange(width)) % 2 == layer % 2
    return board.expand(channels, height, width).clone()


def multiscale(
    shape: Shape,
    scales: int,
    steps: Callable[[Shape], list[caudal.Bijection]],
    split_prior: Callable[[Shape], list[caudal.Bijection]],
    top_prior: Callable[[Shape], list[caudal.Bijection]],
    factor_out: bool = True,
) -> caudal.Bijection:
    """Glow's architecture: squeeze, steps, factor out one half, the next scale, un-squeeze.

    Args:
        shape: the image's shape (C, H, W).
        scales: the number of scales.
        steps: gives the layers of a scale, from the noise to the data, for its squeezed shape.
        split_prior: gives the layers that normalise the half that is factored out, given the
            other half.
        top_prior: gives the layers that normalise the output of the last scale.
        factor_out: whether half of the channels leave at each scale; otherwise all go on.
    """
    inner = squeezed_shape(shape)
    parts = steps(inner)
    squeezed = caudal.bijections.Squeezed
    if scales == 1:
        return squeezed(caudal.Chain([*top_prior(inner), *parts]))
    channels, height, width = inner
    kept = channels // 2 if factor_out else channels
    shape_below = (kept, height, width)
    below = multiscale(shape_below, scales - 1, steps, split_prior, top_prior, factor_out)
    if not factor_out:
        return squeezed(caudal.Chain([below, *parts]))
    factored = caudal.bijections.FactorOut(below, kept)
    return squeezed(caudal.Chain([factored, *split_prior(inner), *parts]))


def _near(size: int, unit: int) -> int:
    return max(1, round(size / unit)) * unit


_COUPLINGS, _MAPS, _FEATURES = 4, 32, 16


def variational(shape: Shape, levels: int) -> caudal.dequantization.VariationalDequantization:
    """Four affine couplings with checkerboard masks, steered by features of the image.

    It is smaller than Flow++'s, whose nets have attention and whose couplings are mixtures.
    Reference: Flow++ (Ho, Chen, Srinivas, Duan, Abbeel, 2019), arXiv:1902.00275.
    """
    from torch import nn

    channels = shape[0]
    affine = caudal.elementwise.Affine()
    parts: list[caudal.Bijection] = []
    for layer in range(_COUPLINGS):
        net = caudal.nets.ConvNet(
            channels + _FEATURES, channels, caudal.elementwise.Affine.n_params, _MAPS
        )
        steered, board = caudal.nets.ConcatContext(net), checkerboard(shape, layer)
        parts.append(caudal.bijections.Coupling(steered, affine, board))
    features = nn.Sequential(
        nn.Conv2d(channels, _MAPS, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(_MAPS, _FEATURES, 3, padding=1),
        nn.ReLU(),
    )
    return caudal.dequantization.VariationalDequantization(
        shape, caudal.Chain(parts), features, levels
    )
