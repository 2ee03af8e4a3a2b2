"""The flow of a table: a recipe's own, dressed for the columns."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from caudal.base import Base, Logistic, Normal
from caudal.bijection import Bijection, Chain, Inverse, parts_of
from caudal.bijections import (
    AnyOrder,
    Atoms,
    Correlate,
    Differences,
    Embedded,
    Gaussianise,
    Latitude,
    Part,
    Permutation,
    Standardise,
    Support,
    Uniformise,
)
from caudal.data import Column, TableSchema
from caudal.dequantization import TableDequantization
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.nets import ColumnEmbedding
from caudal.recipes import Recipe
from caudal.recipes.circles import circles_first
from caudal.recipes.recipe import own_bijection

_COUNTED = ("integer", "datetime", "categorical")  # which score by mass, whatever their step
_JUST_ABOVE = 1e-30  # 0, and large enough to be divided by a unit in 32 bits


def dress_table(recipe: Recipe, schema: TableSchema) -> Flow:
    """The recipe's flow, dressed for the columns of a table.

    From the data to the noise: rounding noise and flags for missing values, the columns'
    distributions made normal, the recipe's bijection, and a correlation. `initialize` fits the
    distributions and the correlation, so that training begins at the Gaussian copula if the
    recipe begins at the identity. Circular columns come first, as angles; all this applies to the
    others, given them.

    Raises:
        InputError: the recipe is for circles, and there are none; or its flow has parts that
            cannot stand in a table's.
    """
    rows = _Lifted.of(schema)
    asked = schema.levels_of_context, schema.gaps_of_context, schema.numbers == "placed"
    circles = schema.circles_of_context
    embedding = ColumnEmbedding(*asked, circles) if schema.context else None
    context = embedding.n_features if embedding else 0
    linear = context if embedding is None or embedding.n_linear is None else embedding.n_linear
    base: Base = Normal((rows.features,))
    if recipe.circular and not rows.turns.any():
        raise InputError(
            f"{recipe.name} is for circular columns, and there is none: declare one, such as "
            f"`types` hour=circular[0,24], or take nsf"
        )
    if rows.turns.any():

        def dress(own: list[Bijection], seen: int) -> list[Bijection]:
            return _correlated(own, int((~rows.turns).sum()), seen - context + linear)

        parts = circles_first(recipe, rows.turns, context, dress)
        parts.append(Part(Inverse(Uniformise()), rows.turns))
    else:
        shape = (context,) if embedding else None
        core = recipe.build((rows.features,), shape, standardise=False)
        own = own_bijection(recipe, core)
        parts = [own]
        if schema.marginals == "fitted":
            parts = _correlated(parts_of(own), rows.features, linear)
        if schema.marginals != "fitted" or not isinstance(core.base, Logistic):
            base = core.base  # the noise of a copula is normal
    parts = [*parts, *rows.marginals(schema.marginals)]
    return Flow(
        Chain(parts),
        base,
        context_shape=(len(schema.context),) if schema.context else None,
        embedding=embedding,
        dequantization=rows.dequantization,
    )


@dataclass(frozen=True)
class _Lifted:
    """Rows (B, D + M) as dequantisation lifts them: D columns, and flags of the M with gaps.

    Attributes:
        filled: the dequantisation of the columns.
        low, high: the ends of the columns, (D,).
        cells: the steps that maps of elements see, (D + M,).
        ends: of all elements, each (D + M,).
        turns, latitudes: which elements are on a circle, and which are latitudes, (D + M,).
    """

    filled: TableDequantization
    low: Tensor
    high: Tensor
    cells: Tensor
    ends: tuple[Tensor, Tensor]
    turns: Tensor
    latitudes: Tensor

    @classmethod
    def of(cls, schema: TableSchema) -> "_Lifted":
        """The marginals of a table."""
        columns = schema.lifted
        missing = torch.tensor([column.missing for column in columns])
        step = torch.tensor([column.step or 0.0 for column in columns])
        flags = torch.zeros(int(missing.sum()))
        low = torch.tensor([_bottom(column) for column in columns])
        high = torch.tensor([_top(column) for column in columns])
        width = torch.tensor([column.atom_width for column in columns])
        every = torch.tensor([column.whole or 0.0 for column in columns])
        atoms = Atoms([column.atoms for column in columns], width, every)
        mass = torch.tensor([column.kind in _COUNTED for column in columns])
        heaps = [column.heaps for column in columns]
        above = Differences([rule.places(schema.columns) for rule in schema.inequalities], step)
        own = atoms, mass, heaps, above, schema.fillers
        filled = TableDequantization(step, missing, low, high, *own)
        first, last = filled.ends(low, high)
        even = torch.tensor([not column.heaps for column in columns])
        return cls(
            filled,
            low,
            high,
            torch.cat([step * even, flags + 1.0]),
            (torch.cat([first, flags]), torch.cat([last, flags + 2.0])),
            torch.tensor([c.period is not None for c in columns] + [False] * len(flags)),
            torch.tensor([c.kind == "latitude" for c in columns] + [False] * len(flags)),
        )

    @property
    def features(self) -> int:
        """D + M."""
        return len(self.turns)

    def marginals(self, how: str) -> list[Bijection]:
        """The maps of each column alone, next to the data."""
        if how == "standardised":  # as files of the first format have it
            bounded = any(end.isfinite().any() for end in self.ends)
            supports: list[Bijection] = [Support(*self.ends)] if bounded else []
            return [Standardise((self.features,)), *supports]
        (low, high), own = self.ends, self.filled.atoms.places
        none = torch.full((self.features - len(own), *own.shape[1:]), math.inf)
        places = torch.cat([own, none])
        sines = torch.where(self.latitudes, -1.0, low), torch.where(self.latitudes, 1.0, high)
        fitted: list[Bijection] = [Gaussianise(*sines, self.cells, places, self.turns)]
        if self.latitudes.any():
            fitted.append(Latitude(low, high, self.latitudes))
        return fitted

    @property
    def dequantization(self) -> TableDequantization | None:
        """What fills steps, gaps and atoms, and takes differences; None without any."""
        filled = self.filled
        return filled if filled.fills or filled.differences.inequalities else None


def _correlated(parts: list[Bijection], features: int, linear: int) -> list[Bijection]:
    """A recipe's parts after a correlation, unless a single one is Gaussian and has it."""
    if parts and isinstance(parts[0], AnyOrder):  # in which the correlation goes by the same order
        first = Correlate(features, linear, ordered=True)
        return [AnyOrder([first, *parts_of(parts[0].bijection)], features)]
    several = len(parts) > 1 or any(isinstance(part, Embedded | Permutation) for part in parts)
    return [Correlate(features, linear), *parts] if several else parts


def _bottom(column: Column) -> float:
    """Where the support begins; 0 has no place among the whole numbers of a positive column."""
    if column.kind == "positive" and column.whole is not None:
        return _JUST_ABOVE
    return _end(column.low, -math.inf)


def _end(value: float | None, default: float) -> float:
    return default if value is None else value


def _top(column: Column) -> float:
    """Rounding noise lifts a stepped column up to one step above its highest value."""
    return _end(column.high, math.inf) + (column.step or 0.0)
