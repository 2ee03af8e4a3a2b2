"""Data made ready: three parts to train and test on, or all items of a source to be scored."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from caudal.data.schema import Schema
from caudal.data.source import Batch, Source
from caudal.errors import InputError

if TYPE_CHECKING:
    from caudal.data.table.guess import Summary


S = TypeVar("S", bound=Schema)
R = TypeVar("R", bound=Source)


@dataclass(frozen=True)
class Dataset(Generic[S, R]):
    """A table, images or clips in three parts.

    Attributes:
        name: what the user called the data.
        schema: what the data are.
        train, valid, test: the parts; images are `Rows` of uint8 (N, C, H, W), audio is `Clips`.
        notes: what the user should know, such as "dropped 207 rows with missing values".
        summary: what was guessed and seen of each column; empty where the schema was known, and
            for images and audio.
    """

    name: str
    schema: S
    train: R
    valid: R
    test: R
    notes: tuple[str, ...] = ()
    summary: "tuple[Summary, ...]" = ()

    @property
    def parts(self) -> tuple[tuple[str, R], ...]:
        """The parts by their names."""
        return ("training", self.train), ("validation", self.valid), ("test", self.test)


class Piece(NamedTuple):
    """Some successive items.

    Attributes:
        beside: what stands beside their scores in a scored file, one row an item.
        batch: the items as a flow takes them.
        keep: mask (N,) of the rows of `beside` that are in the batch; None if all of them are.
        impossible: mask (N,) of the rows whose density is 0, whatever a flow says of the batch.
        beyond: what the items keep of these rows for themselves.
    """

    beside: pa.Table
    batch: Batch
    keep: np.ndarray | None = None
    impossible: np.ndarray | None = None
    beyond: Any = None


class Items(ABC):
    """All rows, images or clips of a source.

    Attributes:
        name: what the user called the source.
        names: what each item is called; None for rows of a table.
        arrow: names and types of the columns that stand beside the scores.
        total: how many pieces there are.
    """

    name: str
    names: Sequence[str] | None = None
    arrow: pa.Schema
    total: int

    def beside_lines(self, writer: Any) -> "Items":
        """These items, with the lines of their text file beside them if `writer` takes such.

        Args:
            writer: a `TableWriter`, to which the pieces will go.
        """
        return self

    @property
    @abstractmethod
    def source(self) -> Source:
        """The items; those of a table are read when this is first asked for."""

    @property
    @abstractmethod
    def notes(self) -> tuple[str, ...]:
        """What the user should know; of a table complete once `source` was asked for."""

    @abstractmethod
    def pieces(self) -> Iterator[Piece]:
        """The items in order, a piece at a time."""

    def refuse_columns(self, names: Sequence[str]) -> None:
        """Refuses data that have columns of these names already."""
        for name in names:
            if name in self.arrow.names:
                raise InputError(f"{self.name} has a column '{name}' already: rename it first")


class Listed(Items):
    """Images or clips, with a table of what stands beside the score of each.

    Args:
        name: what the user called them.
        source: the images or clips.
        beside: a row for each; its first column is their names.
        notes: what the user should know.
        total: how many batches `source.items()` gives.
    """

    def __init__(
        self, name: str, source: Source, beside: pa.Table, notes: tuple[str, ...], total: int
    ) -> None:
        self.name = name
        self.names: list[str] = beside.column(0).to_pylist()
        self._source = source
        self._beside = beside
        self._notes = notes
        self.arrow = beside.schema
        self.total = total

    @property
    def source(self) -> Source:
        return self._source

    @property
    def notes(self) -> tuple[str, ...]:
        return self._notes

    def pieces(self) -> Iterator[Piece]:
        first = 0
        for batch in self._source.items():
            yield Piece(self._beside.slice(first, len(batch.x)), batch)
            first += len(batch.x)
