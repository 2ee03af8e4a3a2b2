"""Flows of vectors some of whose columns are circles: angles first, the other columns given them.

Any recipe of vectors can have circles. Its own layers are those of the other columns, which take
harmonics of the angles beside their context; the angles go through circular splines.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import caudal
from caudal.recipes.recipe import parity, residual_coupling

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
            net = caudal.nets.PeriodicMADE(n, spline.n_params, widths, context)
            parts.append(caudal.bijections.Autoregressive(net, spline))
        else:
            keep = parity(n, layer)
            sizes = (hidden, blocks, dropout)
            parts.append(residual_coupling(spline, keep, context, *sizes, periodic=True))
        if n > 1 and (autoregressive or (layer % 2 and n > 2)):
            parts.append(caudal.bijections.Permutation(torch.randperm(n)))
    return caudal.Chain(parts)


def circles_first(
    turns: Tensor,
    angular: Callable[[int, int], caudal.Bijection],
    others: Callable[[int, int], list[caudal.Bijection]],
    context: int,
) -> list[caudal.Bijection]:
    """The parts of a flow of columns some of which are angles, from the noise to the data.

    Args:
        turns: (D,), True where a column is an angle.
        angular: the bijection of n angles given that many features of context.
        others: the parts of a flow of that many other columns given that many features.
        context: how many features the context has, 0 without one.
    """
    n, rest = int(turns.sum()), int((~turns).sum())
    parts: list[caudal.Bijection] = [caudal.bijections.Part(angular(n, context), turns)]
    if rest:
        seen = caudal.nets.Harmonics()
        chain = caudal.Chain(others(rest, seen.each * n + context))
        parts.append(caudal.bijections.Given(chain, ~turns, seen))
    return parts


def build_with_circles(
    recipe: Recipe,
    features: int,
    context: int,
    circles: Circles,
    standardise: bool,
) -> caudal.Flow:
    """A recipe's flow of vectors (D,) in which the columns `circles` are circles.

    Raises:
        ValueError: there is no such column, or a circle ends before it begins.
    """
    import torch

    low, high = torch.full((features,), -math.inf), torch.full((features,), math.inf)
    for column, (begin, end) in circles.items():
        if not 0 <= column < features or not begin < end:
            raise ValueError(
                f"`circles` {column}: ({begin}, {end}): give a column from 0 to {features - 1}, "
                f"and where its circle begins and ends"
            )
        low[column], high[column] = begin, end

    def others(rest: int, given: int) -> list[caudal.Bijection]:
        parts = caudal.bijection.parts_of(recipe._build((rest,), (given,)).bijection)
        return [*parts, caudal.bijections.Standardise((rest,))] if standardise else parts

    parts = circles_first(low.isfinite(), recipe.angles, others, context)
    measured = standardise and context
    return caudal.Flow(
        caudal.Chain([*parts, caudal.bijections.Circle(low, high)]),
        caudal.base.Normal((features,)),
        context_shape=(context,) if context else None,
        embedding=caudal.nets.ColumnEmbedding([0] * context) if measured else None,
    )
