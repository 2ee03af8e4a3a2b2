"""The multi-scale architecture of the image flows: each scale has half the resolution."""

from __future__ import annotations

import math
from collections.abc import Callable

import caudal
from caudal.recipes.recipe import Shape

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
