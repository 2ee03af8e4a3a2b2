"""Neural circular spline flows: densities of angles, on the torus."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import caudal
from caudal.recipes.nsf import SplineRecipe
from caudal.recipes.recipe import parity, residual_coupling

if TYPE_CHECKING:
    from caudal.elementwise import Elementwise


@dataclass(frozen=True)
class NCSF(SplineRecipe):
    """Circular rational-quadratic splines of angles, by couplings or autoregressive.

    `build` takes all columns for angles in [-pi, pi], `build_on_circles` those that it is told;
    the others go through the splines of nsf, or nsf-ar, given the angles.
    Reference: Normalizing flows on tori and spheres (Rezende et al., 2020), arXiv:2002.02428.
    """

    name = "ncsf"
    paper = "Rezende et al., arXiv:2002.02428"
    year = 2020
    good_for = "angles and other columns on circles, whose density has no seam"
    samples = "parallel"
    circular = True
    _turn = 2

    autoregressive: bool = False
    """Each angle given all angles before it, in place of couplings: slower samples."""

    def _layer(
        self, spline: Elementwise, features: int, context: int, layer: int
    ) -> caudal.Bijection:
        if self.autoregressive:
            return self._autoregressive(spline, features, context)
        keep = parity(features, layer)
        return residual_coupling(spline, keep, context, self.hidden, self.blocks, self.dropout)

    def angles(self, n: int, context: int) -> caudal.Bijection:
        return self._angles(n, context, self.autoregressive)

    def build(
        self,
        event_shape: Sequence[int],
        context_shape: Sequence[int] | None = None,
        *,
        standardise: bool = True,
    ) -> caudal.Flow:
        """A new flow over angles (D,) in [-pi, pi]; see `Recipe.build` and `build_on_circles`."""
        features, _ = self._sizes(event_shape, context_shape)
        circles = dict.fromkeys(range(features), (-math.pi, math.pi))
        return self.build_on_circles(event_shape, circles, context_shape, standardise=standardise)
