"""Categories of other tables that training has not seen."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from caudal.data.table.convert import UNSEEN, Place, show, to_codes
from caudal.data.table.find import rows_in_words
from caudal.data.table.schema import TableSchema
from caudal.data.table.tables import PIECE, Tables


def find_unseen(schema: TableSchema, table: Tables) -> Mapping[str, tuple[int, str]]:
    """How many rows of a table have such categories, and the first one, by the column's name."""
    columns = [c for c in schema.columns + schema.context if c.categories is not None]
    found: dict[str, tuple[int, str]] = {}
    if not columns:
        return found
    for chunk in table.chunks([column.name for column in columns], rows=PIECE):
        place = Place(table.name, chunk.first + 1, unseen=True)
        for column in columns:
            data = chunk.table[column.name]
            if pa.types.is_null(data.type):
                continue
            unseen = to_codes(column, data, place) == UNSEEN
            if unseen.any():
                rows, first = found.get(column.name, (0, ""))
                first = first or show(data[int(np.argmax(unseen))].as_py())
                found[column.name] = rows + int(unseen.sum()), first
    return found


def unseen_note(name: str, rows: int, example: str, is_context: bool) -> str:
    """What becomes of such rows."""
    becomes = "read as the mean of the known ones" if is_context else "whose log_prob is -inf"
    return (
        f"{rows_in_words(rows)} with a category of '{name}' that training has not seen, such as "
        f"{example}, {becomes}"
    )
