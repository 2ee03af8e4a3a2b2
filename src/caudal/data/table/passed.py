"""Columns that are not modelled, and how they come back in samples."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from caudal.data import dtypes, temporal


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
