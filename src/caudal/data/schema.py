"""What every schema promises, whatever kind of data it describes."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

from caudal.data.column import Column
from caudal.data.unit import Unit

_KINDS: "dict[str, type[Schema]]" = {}


class Schema(ABC):
    """What the data of a flow are, as it is kept in the model file.

    A schema turns the user's data into the tensors of a flow (`encode`), and samples back into the
    user's data (`decode`).

    Attributes:
        kind: of data: "table", "images" or "audio".
        one: the word for one item, such as "row".
        many: the word for several of them, such as "rows".
        unit: in which scores are given.
        context: the columns that a flow is conditioned on.
    """

    kind: ClassVar[str]
    one: ClassVar[str]
    many: ClassVar[str]
    unit: ClassVar[Unit]
    context: tuple[Column, ...]

    def __init_subclass__(cls) -> None:
        _KINDS[cls.kind] = cls

    @property
    @abstractmethod
    def what(self) -> str:
        """What a flow models, in words, such as "8x8 gray images"."""

    @property
    @abstractmethod
    def countable(self) -> int | None:
        """Elements of a training row if each takes one of finitely many values, else None.

        Scores in bits an element divide by this number.
        """

    @property
    def levels_of_context(self) -> list[int]:
        """The number of categories of each context column, 0 for a column of numbers."""
        return [len(column.categories or ()) for column in self.context]

    @abstractmethod
    def encode(self, data: Any, /) -> Any:
        """The user's data as a flow takes them."""

    @abstractmethod
    def decode(self, x: Any, /) -> Any:
        """Samples of a flow as the user has such data."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold."""

    @classmethod
    @abstractmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The schema that `to_dict` described, perhaps through JSON."""


def schema_from_dict(data: dict[str, Any]) -> Schema:
    """The schema of whatever kind that its `to_dict` described; that of a table names no kind."""
    return _KINDS[data.get("kind", "table")].from_dict(data)
