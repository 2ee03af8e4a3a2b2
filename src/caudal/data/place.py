"""Where in the user's table a value stands, for error messages."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Place:
    """Successive rows of a table, or a choice of them.

    Args:
        file: what to call the table.
        first_row: the number of the first row, counted from 1 without the header.
        rows: which of the rows from there on they are (from 0, ascending); all if None.
        declarable: whether the user can still declare what the columns are, so that a message may
            advise it.
    """

    file: str = "table"
    first_row: int = 1
    rows: np.ndarray | None = None
    declarable: bool = False

    def row(self, index: int) -> int:
        """The number that row `index` of these has in the user's table."""
        return self.first_row + int(index if self.rows is None else self.rows[index])

    def cell(self, index: int, name: str) -> str:
        """A cell in words, such as `table.csv, row 7, column 'age'`."""
        return f"{self.file}, row {self.row(index)}, column '{name}'"

    def column(self, name: str) -> str:
        """A column in words, such as `table.csv, column 'age'`."""
        return f"{self.file}, column '{name}'"

    def choose(self, keep: np.ndarray) -> "Place":
        """Those rows for which a mask (N,) over these is True."""
        return replace(self, rows=np.flatnonzero(keep))
