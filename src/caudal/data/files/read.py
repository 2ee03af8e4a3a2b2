"""Files decoded in their order, several at a time; what cannot be used is refused or left out."""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

from caudal.data.files.lots import FileKind, Lot
from caudal.data.files.parts import Job
from caudal.data.splits import TEST, TRAIN, VALID, too_few
from caudal.errors import InputError

CORRUPT = ("refuse", "skip")
Progress = Callable[[Iterable[Any], int], Iterable[Any]]
"""Shows how far reading has come: (what is iterated over, how many items it has) to the same."""
_TOGETHER = 64  # so many are decoded before the next are asked for
_SHOWN = 3


class FaultError(InputError):
    """One item cannot be used.

    Args:
        place: what it is called.
        what: is wrong with it.
        advice: what to do, or why.
    """

    def __init__(self, place: str, what: str, advice: str) -> None:
        super().__init__(f'{place} {what}: {advice}; `corrupt="skip"` leaves it out')
        self.short = f"{place} {what}"


class Item(NamedTuple):
    """An item that was read.

    Attributes:
        job: of which it is.
        row: its number in the job, from 0.
        title: what results call it.
        value: what was made of it.
    """

    job: Job
    row: int
    title: str
    value: Any


class Decoder:
    """Reads the items of jobs, and keeps count of those that cannot be used.

    Args:
        kind: of files.
        decode: makes of a raw item, and of the place for errors to name, what is wanted.
        corrupt: "refuse" or "skip" items that cannot be used.
        progress: shows how far reading has come.
    """

    def __init__(
        self,
        kind: FileKind,
        decode: Callable[[Any, str], Any],
        corrupt: str,
        progress: Progress | None = None,
    ) -> None:
        self.kind = kind
        self.decode = decode
        self.corrupt = corrupt
        self.progress = progress
        self._faults: list[FaultError] = []
        self._total = 0

    def read(self, jobs: Sequence[Job]) -> Iterator[Item]:
        """The items that can be used, in their order.

        Raises:
            FaultError: an item cannot be used, and such items are refused.
        """
        total = sum(job.lot.count for job in jobs)
        items: Iterable[Item] = self._items(jobs)
        for item in self.progress(items, total) if self.progress and jobs else items:
            self._total += 1
            if not isinstance(item.value, FaultError):
                yield item
            elif self.corrupt == "refuse":
                raise item.value
            else:
                self._faults.append(item.value)

    def finish(
        self, name: str, counts: Mapping[int, int], parts: Sequence[int] = (TRAIN, VALID, TEST)
    ) -> tuple[str, ...]:
        """A note on the items that were left out.

        Args:
            name: of the source.
            counts: how many items of each part were read.
            parts: those that must have some.

        Raises:
            InputError: no item can be used, or a part has none.
        """
        notes = tuple(self._notes())
        if not counts:
            raise InputError(f"no {self.kind.one} can be used; the first: {self._faults[0]}")
        for part in parts:
            if part not in counts:
                raise too_few(name, sum(counts.values()), self.kind.many, part, notes)
        return notes

    def _notes(self) -> Iterator[str]:
        if self._faults:
            count, shown = len(self._faults), [fault.short for fault in self._faults[:_SHOWN]]
            more = f", and {count - _SHOWN} more" if count > _SHOWN else ""
            many = self.kind.many
            yield f"skipped {count} of {self._total} {many}: {', '.join(shown)}{more}"

    def _items(self, jobs: Sequence[Job]) -> Iterator[Item]:
        number = 0
        for job in jobs:
            for index, value in enumerate(self._values(job.lot)):
                number += 1
                yield Item(job, index, job.lot.title(index, number), value)

    def _values(self, lot: Lot) -> Iterator[Any]:
        def attempt(item: tuple[int, Any]) -> Any:
            try:
                return self.decode(item[1], lot.place(item[0]))
            except FaultError as fault:
                return fault

        raws = enumerate(lot.raws)
        if lot.array is not None:  # nothing to decode
            yield from map(attempt, raws)
            return
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            while some := list(islice(raws, _TOGETHER)):
                with quietly():
                    values = list(pool.map(attempt, some))
                yield from values


@contextmanager
def quietly() -> Iterator[None]:
    """Silences decoders that warn about odd metadata, which does not affect the pixels.

    It is to be entered before there are threads, which share the filters of warnings.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\b")
        yield


def check_corrupt(corrupt: str) -> None:
    """Refuses other ways to treat items that cannot be used."""
    if corrupt not in CORRUPT:
        raise InputError(f"`corrupt` {corrupt}: choose one of {', '.join(CORRUPT)}")
