"""Recordings read into the clips of each part."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from caudal.data.audio.cropped import CroppedClips, MemoryClips, StreamedClips
from caudal.data.audio.form import Header
from caudal.data.audio.schema import AudioSchema
from caudal.data.files.parts import Job
from caudal.data.files.read import Decoder, Item


@dataclass
class Shelf:
    """The clips of one part, with their samples unless they are streamed."""

    names: list[str] = field(default_factory=list)
    labels: list[dict[str, Any]] = field(default_factory=list)
    codes: list[Tensor] = field(default_factory=list)
    sources: list[tuple[Any, str]] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    held: list[np.ndarray] = field(default_factory=list)

    def add(self, item: Item, streams: bool) -> None:
        """Takes in a clip, without its samples if these are to be decoded when they are needed."""
        lot, index = item.job.lot, item.row
        self.names.append(item.title)
        self.labels.append(lot.labels_of(index))
        self.codes.append(item.job.codes[index])
        self.lengths.append(len(item.value))
        if streams:
            self.sources.append((lot.raw(index), lot.place(index)))
        else:
            self.held.append(item.value)

    def clips(self, schema: AudioSchema, memory: int) -> CroppedClips:
        """The clips as a source of rows."""
        codes = torch.stack(self.codes)
        if self.held:
            return MemoryClips(schema, self.names, self.held, self.labels, codes)
        together = memory // 8  # samples of 16 bits: a quarter of the memory
        return StreamedClips(
            schema, self.names, self.lengths, self.labels, codes, self.sources, together
        )


def fill(
    jobs: Sequence[Job],
    decoder: Decoder,
    schema: AudioSchema,
    headers: Iterable[Header | None],
    memory: int,
) -> dict[int, CroppedClips]:
    """The clips of each part that gets some.

    Args:
        jobs: what to read.
        decoder: makes samples of each recording (see `decoder_of`).
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
