"""Plain tensors in the place of a user's table: columns without names, taken as they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from caudal.data.schema import Column
from caudal.data.table.schema import TableSchema
from caudal.errors import InputError


@dataclass(frozen=True)
class TensorSchema(TableSchema):
    """The columns x0, x1, ... of vectors (N, D) that a flow was trained on as they are.

    A model file does not hold it: it follows from the shape of the flow's events.
    """

    kind: ClassVar[str] = "tensors"

    @property
    def what(self) -> str:
        return "plain tensors"

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the flow."""
        return torch.float64 if self.columns[0].dtype == "double" else torch.float32

    @classmethod
    def of(cls, event_shape: Sequence[int], dtype: torch.dtype = torch.float32) -> "TensorSchema":
        """The schema of vectors in that precision.

        Raises:
            InputError: the events are no vectors.
        """
        if len(event_shape) != 1:
            raise InputError(
                f"plain tensors of shape {tuple(event_shape)} are no rows: use the flow from "
                f"Python, model.flow"
            )
        name = "double" if dtype == torch.float64 else "float"
        return cls(numbered(event_shape[0], name))

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, **super().to_dict()}


def numbered(features: int, dtype: str = "float", first: int = 0) -> tuple[Column, ...]:
    """So many columns of real numbers, whose names are counted from `first`; 0 in an array."""
    return tuple(Column(f"x{first + i}", "real", dtype=dtype) for i in range(features))
