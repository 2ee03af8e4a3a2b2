"""Clips as a source of rows: random crops to train on, whole clips to be scored."""

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from caudal.data.audio.schema import AudioSchema
from caudal.data.source import Batch, Source, permutation


class Clip(NamedTuple):
    """A whole clip: its name, x (1, T) in whole numbers, its context (C, F) or None."""

    name: str
    x: Tensor
    context: Tensor | None


class Clips(Source):
    """Clips in memory, or decoded from their files as they are needed.

    A row is a crop of `schema.crop` samples that starts at a frame; a clip that is shorter is
    followed by silence. The context of a crop is that of its clip in the same frames. An item is
    a whole clip.

    Attributes:
        schema: what they are.
        names: what each is called.
        lengths: samples of each.
        labels: of each, by name.
    """

    schema: AudioSchema
    names: Sequence[str]
    lengths: Sequence[int]
    labels: Sequence[dict[str, Any]]

    @property
    def row_numbers(self) -> int:
        """How many samples a crop has."""
        return self.schema.crop

    @property
    def n_items(self) -> int:
        """How many clips there are."""
        return len(self.names)

    @property
    def items_at_a_time(self) -> int:
        """One: clips differ in length."""
        return 1

    def items(self, limit: int | None = None, rows: int | None = None) -> Iterator[Batch]:
        """Every clip whole and in order, as a batch of one: clips differ in length.

        With a limit, so many clips from all over the source, always the same ones.
        """
        indices = list(range(self.n_items))
        if limit is not None and limit < self.n_items:
            indices = sorted(permutation(self.n_items, 0)[:limit].tolist())
        for index in indices:
            _, x, context = self.clip(index)
            yield Batch(x[None], None if context is None else context[None])

    @property
    def seconds(self) -> list[float]:
        """How long each clip is."""
        return [length / self.schema.rate for length in self.lengths]

    @property
    def duration(self) -> float:
        """Seconds of all clips together."""
        return sum(self.lengths) / self.schema.rate

    @property
    def n_padded(self) -> int:
        """How many clips are shorter than a crop."""
        return sum(length < self.schema.crop for length in self.lengths)

    @abstractmethod
    def shuffled(self, batch_size: int, seed: int, skip: int = 0) -> Iterator[Batch]:
        """About as many crops as cover all clips, each from a random frame on, in full batches."""

    @abstractmethod
    def ordered(self, batch_size: int) -> Iterator[Batch]:
        """Each clip once, cut into successive crops, the last of which ends with the clip.

        That one overlaps with the one before it, so there may be more crops than `n_rows`.
        """

    @abstractmethod
    def clip(self, index: int) -> Clip:
        """One whole clip."""
