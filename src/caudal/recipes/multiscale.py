"""What the image flows share: scales of half the resolution, one within the other."""

import math
from collections.abc import Callable

from caudal.bijection import Bijection, Chain
from caudal.bijections import FactorOut, Squeezed
from caudal.recipes.recipe import Shape

MOST_SCALES = 3
"""Unless told otherwise."""


def squeezed_shape(shape: Shape) -> Shape:
    """The shape of an image whose squares of 2 x 2 pixels have become channels."""
    channels, height, width = shape
    return 4 * channels, height // 2, width // 2


def check_halvings(name: str, shape: Shape, halvings: int, fitting: int) -> None:
    """Refuses images that cannot be halved so many times; `fitting` scales do fit, if any.

    Raises:
        ValueError: names sizes that can, and how many scales this size allows.
    """
    height, width = shape[1:]
    unit = 2**halvings
    if height % unit == 0 and width % unit == 0:
        return
    high, wide = _near(height, unit), _near(width, unit)
    sizes = f"{high}x{wide} (--resize {high} {wide})"
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
    steps: Callable[[Shape], list[Bijection]],
    split_prior: Callable[[Shape], list[Bijection]],
    top_prior: Callable[[Shape], list[Bijection]],
    factor_out: bool = True,
) -> Bijection:
    """Squeeze, steps, factor half of it out, the next scale, un-squeeze: Glow's architecture.

    Args:
        shape: of the image.
        scales: how many.
        steps: the layers of a scale, from the noise to the data, for its squeezed shape.
        split_prior: what makes noise of the half that is factored out, given the other half.
        top_prior: what makes noise of what the last scale leaves.
        factor_out: else all channels go on to the next scale.
    """
    inner = squeezed_shape(shape)
    parts = steps(inner)
    if scales == 1:
        return Squeezed(Chain([*top_prior(inner), *parts]))
    channels, height, width = inner
    kept = channels // 2 if factor_out else channels
    shape_below = (kept, height, width)
    below = multiscale(shape_below, scales - 1, steps, split_prior, top_prior, factor_out)
    if not factor_out:
        return Squeezed(Chain([below, *parts]))
    return Squeezed(Chain([FactorOut(below, kept), *split_prior(inner), *parts]))


def _near(size: int, unit: int) -> int:
    return max(1, round(size / unit)) * unit
