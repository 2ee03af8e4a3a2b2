"""Where in the user's table a value is, for errors to say."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Place:
    """Successive rows of a file, or a choice of them.

    Args:
        file: what to call the table.
        first_row: the number of the first row, counted from 1 without the header.
        rows: which of the rows from there on they are (from 0, ascending); all if None.
        declarable: whether the user may still say what the columns are; else advice to do so
            would be of no use.
    """

    file: str = "table"
    first_row: int = 1
    rows: np.ndarray | None = None
    declarable: bool = False

    def row(self, index: int) -> int:
        """The number that the user gives to row `index` of these."""
        return self.first_row + int(index if self.rows is None else self.rows[index])

    def cell(self, index: int, name: str) -> str:
        """Such as `table.csv, row 7, column 'age'`."""
        return f"{self.file}, row {self.row(index)}, column '{name}'"

    def column(self, name: str) -> str:
        """Such as `table.csv, column 'age'`."""
        return f"{self.file}, column '{name}'"

    def choose(self, keep: np.ndarray) -> "Place":
        """The rows of a mask (N,) over all of these."""
        return replace(self, rows=np.flatnonzero(keep))
