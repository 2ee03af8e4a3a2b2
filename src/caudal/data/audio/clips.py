"""Clips as a source of rows: random crops to train on, whole clips to evaluate."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from caudal.data.audio.schema import AudioSchema
from caudal.data.source import Batch, Source


class Clip(NamedTuple):
    """A whole clip: its name, x (1, T) in whole numbers, its context (C, F) or None."""

    name: str
    x: Tensor
    context: Tensor | None


class Clips(Source):
    """Clips in memory, or decoded from their files as they are needed.

    A row is a crop of `schema.crop` samples, starting at a frame; a clip that is shorter is
    followed by silence.
    """

    schema: AudioSchema
    names: Sequence[str]
    lengths: Sequence[int]

    @abstractmethod
    def shuffled(self, batch_size: int, seed: int, skip: int = 0) -> Iterator[Batch]:
        """About as many crops as cover all clips, each from a random frame on, in full batches."""

    @abstractmethod
    def ordered(self, batch_size: int) -> Iterator[Batch]:
        """Each clip once, cut into crops that follow each other; its last ends with the clip."""

    @abstractmethod
    def clip(self, index: int) -> Clip:
        """One whole clip."""
