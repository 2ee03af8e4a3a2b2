"""What a table's rows say of the size of its flow and of its training."""

from typing import Any

from caudal.recipes import Recipe
from caudal.recipes.nsf import SplineRecipe

_FEW = 500
"""Training rows up to which a small net is steadier than that for many rows."""


def usual_of_rows(recipe: type[Recipe], rows: int, columns: int) -> dict[str, Any]:
    """The usual values of recipe fields and training options for so many rows and columns.

    A net as large as the one for many rows learns a few rows by heart within ten steps, so that
    little is gained before validation stops it: up to 500 rows the net is small and goes slowly.
    """
    if not issubclass(recipe, SplineRecipe):
        return {}
    if rows <= _FEW:
        return {"layers": 3, "hidden": 32, "blocks": 1, "lr": 1e-3}
    return {"lr": 3e-3}
