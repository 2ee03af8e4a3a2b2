"""The clips of each part, with their samples, or read from their files when they are needed."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caudal.data.audio.clips import Clips
from caudal.data.audio.form import Form, Take, Treatment
from caudal.data.audio.recordings import Header
from caudal.data.audio.schema import (
    AudioSchema,
)
from caudal.data.files.jobs import (
    Decoder,
    Item,
    Job,
)
from caudal.errors import InputError


@dataclass
class Shelf:
    """The clips of one part, with their samples unless they are streamed."""

    names: list[str] = field(default_factory=list)
    labels: list[dict[str, Any]] = field(default_factory=list)
    codes: list[Tensor] = field(default_factory=list)
    sources: list[tuple[Any, str]] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    treatments: list[Treatment] = field(default_factory=list)
    held: list[np.ndarray] = field(default_factory=list)

    def add(self, item: Item, streams: bool) -> None:
        """Takes in a clip, without its samples if these are to be decoded when they are needed."""
        lot, index = item.job.lot, item.row
        self.names.append(item.title)
        self.labels.append(lot.labels_of(index))
        self.codes.append(item.job.codes[index])
        take: Take = item.value
        self.lengths.append(len(take.samples))
        self.treatments.append(take.treatment)
        if streams:
            self.sources.append((lot.raw(index), lot.place(index)))
        else:
            self.held.append(take.samples)

    def clips(self, schema: AudioSchema, memory: int) -> Clips:
        """The clips as a source of rows."""
        codes = torch.stack(self.codes)
        together = memory // 8  # samples of 16 bits: a quarter of the memory
        samples: Callable[[int], np.ndarray] = partial(_decoded_anew, schema, self)
        if self.held:
            samples, together = self.held.__getitem__, sum(self.lengths)
        each = self.names, self.lengths, self.labels, self.treatments
        return Clips(schema, *each, codes, samples, together)


def _decoded_anew(schema: AudioSchema, shelf: Shelf, index: int) -> np.ndarray:
    """The samples of one clip from its file.

    Raises:
        InputError: the file is no longer what it was.
    """
    raw, place = shelf.sources[index]
    samples = Form(schema).read(raw, place).samples
    if len(samples) != shelf.lengths[index]:
        raise InputError(f"{place} has changed since it was opened: start again")
    return samples


def fill(
    jobs: Sequence[Job],
    decoder: Decoder,
    schema: AudioSchema,
    headers: Iterable[Header | None],
    memory: int,
) -> dict[int, Clips]:
    """The clips of each part that gets some.

    Args:
        jobs: what to read.
        decoder: makes samples of each recording.
        schema: what they become.
        headers: of all recordings.
        memory: bytes above which clips are decoded as they are needed.

    Raises:
        InputError: a recording cannot be used, and is not to be skipped.
    """
    # Two bytes a sample, before silence is cut off.
    size = sum(2 * h.samples * schema.rate / h.rate for h in headers if h is not None)
    shelves: dict[int, Shelf] = {}
    for item in decoder.read(jobs):
        part = int(item.job.parts[item.row])
        shelves.setdefault(part, Shelf()).add(item, size > memory)
    return {part: shelf.clips(schema, memory) for part, shelf in sorted(shelves.items())}
