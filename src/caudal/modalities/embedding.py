"""How the context columns of any data enter a flow."""

from collections.abc import Sequence

from caudal.data.schema import Column
from caudal.nets import ColumnEmbedding


def embed_columns(columns: Sequence[Column], n_numbers: int = 0) -> ColumnEmbedding | None:
    """The embedding of labels and numbers, followed by `n_numbers` further numbers.

    It is None where there is nothing to embed.
    """
    levels = [len(column.categories or ()) for column in columns] + [0] * n_numbers
    return ColumnEmbedding(levels) if levels else None
