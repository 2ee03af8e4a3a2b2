"""Flows of vectors some of whose columns are circles: angles first, the other columns given them.

Any recipe of vectors can have circles. Its own layers are those of the other columns, which take
harmonics of the angles beside their context; the angles go through circular splines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import caudal
from caudal.errors import InputError
from caudal.recipes.recipe import own_bijection, parity, residual_coupling

if TYPE_CHECKING:
    from torch import Tensor

    from caudal.recipes.recipe import Recipe

Circles = Mapping[int, tuple[float, float]]
"""Where the circle of a column begins, and where it is at the same point again."""


def angles(
    n: int,
    context: int,
    *,
    layers: int = 5,
    hidden: int = 64,
    blocks: int = 2,
    bins: int = 8,
    dropout: float = 0.0,
    autoregressive: bool = False,
) -> caudal.Bijection:
    """From normal noise to n angles in [-pi, pi]: layers of circular splines.

    Reference: Normalizing flows on tori and spheres (Rezende et al., 2020), arXiv:2002.02428.
    """
    import torch

    spline = caudal.elementwise.CircularSpline(bins)
    parts: list[caudal.Bijection] = [caudal.bijections.Uniformise()]
    for layer in range(layers):
        if autoregressive:
            widths = (hidden,) * (2 * blocks + 1)
            net = caudal.nets.PeriodicMADE(n, spline.n_params, widths, context, dropout)
            parts.append(caudal.bijections.Autoregressive(net, spline))
        else:
            keep = parity(n, layer)
            sizes = (hidden, blocks, dropout)
            parts.append(residual_coupling(spline, keep, context, *sizes, periodic=True))
        if n > 1 and (autoregressive or (layer % 2 and n > 2)):
            parts.append(caudal.bijections.Permutation(torch.randperm(n)))
    return caudal.Chain(parts)


def circles_first(
    recipe: Recipe,
    turns: Tensor,
    context: int,
    dress: Callable[[list[caudal.Bijection], int], list[caudal.Bijection]],
) -> list[caudal.Bijection]:
    """The parts of a recipe's flow of columns some of which are angles, from noise to data.

    Args:
        recipe: of the other columns, and of the angles.
        turns: (D,), True where a column is an angle.
        context: how many features the context has, 0 without one.
        dress: adds parts to the recipe's own, given how many features those of the other columns
            see: the harmonics, and then the context.

    Raises:
        InputError: the recipe's flow has a base that is not normal or logistic.
    """
    n, rest = int(turns.sum()), int((~turns).sum())
    parts: list[caudal.Bijection] = [caudal.bijections.Part(recipe.angles(n, context), turns)]
    if rest:
        harmonics = caudal.nets.harmonics
        seen = n * caudal.nets.FEATURES + context
        core = recipe._build((rest,), (seen,))
        if not isinstance(core.base, caudal.base.Normal | caudal.base.Logistic):
            raise InputError(
                f"{recipe.name} has a base of its own, a {type(core.base).__name__}, and noise "
                f"beside circles is normal: take Normal, or no circles"
            )
        own = caudal.bijection.parts_of(own_bijection(recipe, core))
        parts.append(caudal.bijections.Given(caudal.Chain(dress(own, seen)), ~turns, harmonics))
    return parts


def build_on_circles(
    recipe: Recipe, features: int, context: int, circles: Circles, standardise: bool
) -> caudal.Flow:
    """See `Recipe.build_on_circles`; of D features, and context of that many, 0 without one."""
    import torch

    low, high = torch.full((features,), -math.inf), torch.full((features,), math.inf)
    for column, (begin, end) in circles.items():
        if not 0 <= column < features or not begin < end:
            raise ValueError(
                f"`circles` {column}: ({begin}, {end}): give a column from 0 to {features - 1}, "
                f"and where its circle begins and ends"
            )
        low[column], high[column] = begin, end
    if not circles:
        raise ValueError(f"`circles` is empty: give some, or take `{recipe.name}` without circles")

    def dress(parts: list[caudal.Bijection], seen: int) -> list[caudal.Bijection]:
        rest = features - len(circles)
        return [*parts, caudal.bijections.Standardise((rest,))] if standardise else parts

    parts = circles_first(recipe, low.isfinite(), context, dress)
    measured = standardise and context
    return caudal.Flow(
        caudal.Chain([*parts, caudal.bijections.Circle(low, high)]),
        caudal.base.Normal((features,)),
        context_shape=(context,) if context else None,
        embedding=caudal.nets.ColumnEmbedding([0] * context) if measured else None,
    )
