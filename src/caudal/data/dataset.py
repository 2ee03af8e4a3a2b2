"""Data made ready for training: what they are, and three parts of them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from caudal.data.schema import Schema
from caudal.data.source import Source

if TYPE_CHECKING:
    from caudal.data.table.stats import Summary

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
