"""Columns that are not modelled, and how they come back in samples."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from caudal.data import dtypes, temporal
from caudal.errors import InputError, one_line
from caudal.fields import check_fields


@dataclass(frozen=True)
class PassedOver:
    """A column that a flow does not model.

    Samples have it all the same, so that their header is that of the data: a constant as it is,
    running numbers counted on, and empty cells for all else.

    Attributes:
        name: the user's name for it.
        dtype: the user's arrow type.
        why: what it is like, as a phrase after its name: "is constant (2018 in every row)".
        value: what each sample has there, of a date its microseconds; None for an empty cell.
        first: for running numbers, that of the first sample; the next ones follow.
    """

    name: str
    dtype: str
    why: str
    value: Any = None
    first: int | None = None

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "PassedOver":
        """The one that `dataclasses.asdict` described, perhaps through JSON.

        Raises:
            InputError: a value is of another type, or is none that the column can hold.
        """
        column = cls(**data)
        check_fields(column, skip=("value",))
        try:
            column.cells(1, 0)
        except (pa.ArrowException, ArithmeticError, TypeError, ValueError) as error:
            raise InputError(
                f"column '{column.name}' {column.why}: its type is {column.dtype}, which cannot "
                f"hold what samples should have there ({one_line(error, 100)})"
            ) from None
        return column

    @property
    def back(self) -> str:
        """What samples have there, in words."""
        if self.first is not None:
            return "counted on"
        return "empty" if self.value is None else "as it is"

    def cells(self, n: int, start: int) -> pa.Array:
        """The cells (n,) of the samples numbered from `start`, in the user's type."""
        dtype = dtypes.parse(self.dtype)
        if self.first is not None:
            numbers = np.arange(start, start + n) + self.first
            return dtypes.restore(pa.array(numbers).cast(dtypes.value_type(dtype)), dtype)
        if self.value is None:
            return pa.nulls(n, dtype)
        plain = dtypes.value_type(dtype)
        if temporal.is_modelled(plain):
            return temporal.of_microseconds(np.full(n, self.value), dtype, np.zeros(n, bool))
        return dtypes.restore(pa.array([self.value] * n, plain), dtype)
