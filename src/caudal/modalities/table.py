"""Tables: rows of columns of several kinds."""

import math
from typing import Any

import torch

from caudal.bijection import Bijection, Chain
from caudal.bijections import Standardise, Support
from caudal.data.schema import Column
from caudal.dequantization import TableDequantization
from caudal.flow import Flow
from caudal.losses import nll
from caudal.modalities.embedding import embed_columns
from caudal.modalities.pending import Pending
from caudal.recipes import Recipe


class Table(Pending):
    """Rows of numbers, categories and gaps."""

    name = "table"

    def takes(self, recipe: type[Recipe]) -> bool:
        return recipe.vectors and not recipe.audio

    def loss(self) -> Any:
        return nll

    def dress(self, recipe: Recipe, schema: Any) -> Flow:
        """The recipe's flow, dressed for the columns of a table.

        From the data to the noise: rounding noise and flags for missing values, the columns'
        supports opened to the whole line, standardisation, the recipe's bijection.
        `initialize` fits the standardisation.
        """
        columns = schema.columns
        missing = torch.tensor([column.missing for column in columns])
        step = torch.tensor([column.step or 0.0 for column in columns])
        flags = int(missing.sum())
        low = torch.tensor([_end(column.low, -math.inf) for column in columns])
        high = torch.tensor([_top(column) for column in columns])
        embedding = embed_columns(schema.context)
        features = (len(columns) + flags,)
        core = recipe.build(features, (embedding.n_features,) if embedding else None)
        dressing: list[Bijection] = [Standardise(features)]
        all_low = torch.cat([low, torch.zeros(flags)])
        all_high = torch.cat([high, torch.full((flags,), 2.0)])
        if (all_low.isfinite() | all_high.isfinite()).any():
            dressing.append(Support(all_low, all_high))
        uneven = bool(flags or step.any())
        return Flow(
            Chain([core.bijection, *dressing]),
            core.base,
            context_shape=(len(schema.context),) if schema.context else None,
            embedding=embedding,
            dequantization=TableDequantization(step, missing, low, high) if uneven else None,
        )


def _end(value: float | None, default: float) -> float:
    return default if value is None else value


def _top(column: Column) -> float:
    """The highest value of a column after rounding noise, which adds up to one step."""
    return _end(column.high, math.inf) + (column.step or 0.0)
