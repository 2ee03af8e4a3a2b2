"""Recordings read into clips of each part; what cannot be used is refused, or left out."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from torch import Tensor

from caudal.data.audio.clips import Clips
from caudal.data.audio.cropped import MemoryClips
from caudal.data.audio.faults import FaultError
from caudal.data.audio.form import Form, read_header
from caudal.data.audio.labels import encode
from caudal.data.audio.recordings import Recording
from caudal.data.audio.schema import AudioSchema
from caudal.data.audio.streaming import StreamedClips
from caudal.data.images.fill import Progress
from caudal.errors import InputError

_TOGETHER = 64  # so many are decoded before the next are asked for
_NAMED = 3


@dataclass
class Shelf:
    """The clips of one part: their recordings, lengths, and samples unless they are streamed."""

    recordings: list[Recording] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    held: list[np.ndarray] = field(default_factory=list)


@dataclass(frozen=True)
class Filler:
    """Reads recordings into parts.

    Args:
        schema: what they become.
        corrupt: "refuse" or "skip" those that cannot be used.
        memory: bytes above which clips are decoded as they are needed.
        progress: given what is gone through and how many recordings it is, gives the same back.
    """

    schema: AudioSchema
    corrupt: str
    memory: int
    progress: Progress | None = None

    def fill(self, parts: dict[int, list[Recording]]) -> tuple[dict[int, Clips], tuple[str, ...]]:
        """The parts that got clips, and notes.

        Raises:
            InputError: a recording cannot be used, and is not to be skipped; or none can.
        """
        every = [(part, recording) for part, some in parts.items() for recording in some]
        streams = self._size(recording for _, recording in every) > self.memory
        shelves = {part: Shelf() for part in parts}
        faults: list[FaultError] = []
        for part, recording, samples in self._read(every):
            if isinstance(samples, FaultError):
                if self.corrupt == "refuse":
                    raise samples
                faults.append(samples)
                continue
            shelf = shelves[part]
            shelf.recordings.append(recording)
            shelf.lengths.append(len(samples))
            if not streams:
                shelf.held.append(samples)
        if faults and len(faults) == len(every):
            raise InputError(f"no file can be used; the first: {faults[0]}")
        found = {part: self._clips(s, streams) for part, s in shelves.items() if s.lengths}
        return found, tuple(_skipped(faults, len(every)))

    def _read(
        self, every: Sequence[tuple[int, Recording]]
    ) -> Iterable[tuple[int, Recording, np.ndarray | FaultError]]:
        found = self._decode(every)
        return found if self.progress is None else self.progress(found, len(every))

    def _decode(
        self, every: Sequence[tuple[int, Recording]]
    ) -> Iterator[tuple[int, Recording, np.ndarray | FaultError]]:
        form = Form(self.schema)

        def attempt(item: tuple[int, Recording]) -> tuple[int, Recording, np.ndarray | FaultError]:
            try:
                return *item, form.read(item[1])
            except FaultError as fault:
                return *item, fault

        items = iter(every)
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            while some := list(islice(items, _TOGETHER)):
                yield from pool.map(attempt, some)

    def _size(self, recordings: Iterable[Recording]) -> float:
        """Bytes of all clips, of 16 bits a sample, before silence is cut off."""
        headers = (read_header(recording) for recording in recordings)
        return sum(2 * h.samples * self.schema.rate / h.rate for h in headers if h is not None)

    def _clips(self, shelf: Shelf, streams: bool) -> Clips:
        codes: Tensor = encode(shelf.recordings, self.schema.context)
        if streams:  # a quarter of the memory for what is open
            together = self.memory // 8
            return StreamedClips(self.schema, shelf.recordings, shelf.lengths, codes, together)
        names = [recording.name for recording in shelf.recordings]
        labels = [recording.labels for recording in shelf.recordings]
        return MemoryClips(self.schema, names, shelf.held, labels, codes)


def _skipped(faults: Sequence[FaultError], total: int) -> Iterator[str]:
    if faults:
        shown = ", ".join(fault.short for fault in faults[:_NAMED])
        more = f", and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
        yield f"skipped {len(faults)} of {total} files: {shown}{more}"
