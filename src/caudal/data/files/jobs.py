"""Which images or clips are for which part, and how they are read, several at a time."""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from caudal.data.files.groups import group_numbers
from caudal.data.files.labels import encode_labels
from caudal.data.files.lots import FileKind, Listing, Lot
from caudal.data.files.tars import finds_tars
from caudal.data.schema import Column
from caudal.data.splits import PARTS, TEST, TRAIN, VALID, Split, too_few
from caudal.errors import InputError

_OPTIONS = {VALID: "valid", TEST: "test"}
CORRUPT = ("refuse", "skip")
Progress = Callable[[Iterable[Any], int], Iterable[Any]]
"""Shows how far reading has come: (what is iterated over, how many items it has) to the same."""
_TOGETHER = 64  # files that are decoded before the next are asked for
_SHOWN = 3


class Job(NamedTuple):
    """Items that are read in their order.

    Attributes:
        lot: the items.
        parts: the part of each, int (N,).
        codes: the labels of each as numbers, (N, C).
    """

    lot: Lot
    parts: np.ndarray
    codes: Tensor = torch.empty(0, 0)

    @classmethod
    def whole(cls, lot: Lot, part: int = TRAIN) -> "Job":
        """A lot all of which goes into one part."""
        return cls(lot, np.full(lot.count, part))


def is_pattern(data: Any) -> bool:
    """Whether validation or test items are chosen by a pattern of their names."""
    if not isinstance(data, str) or os.path.exists(data) or finds_tars(data):
        return False
    return any(mark in data for mark in "*?[")


def place(
    main: Listing,
    valid: Any,
    test: Any,
    split: Sequence[float],
    seed: int,
    find: Callable[[Any], Listing],
    by: str | None = None,
) -> tuple[list[Job], list[str]]:
    """What is to be read for which part, and notes.

    `valid` and `test` take the place of a part of the main source, or of a share of its training
    items. A part that is then still lacking gets a share of the training items.

    Args:
        main: the source.
        valid: another source, or a pattern of names in the main one, or None.
        test: likewise.
        split: shares of training, validation and test items.
        seed: of the split.
        find: opens another source.
        by: keeps groups together, see `group_numbers`.

    Raises:
        InputError: nothing fits a pattern, or a part gets no items.
    """
    others = {part: data for part, data in ((VALID, valid), (TEST, test)) if data is not None}
    patterns = {part: data for part, data in others.items() if is_pattern(data)}
    fits = {part: [_fits(lot, p) for lot in main.lots] for part, p in patterns.items()}
    _check_patterns(main, patterns, fits)
    homes = np.concatenate([lot.parts for lot in main.lots])
    if not (homes == TRAIN).any():
        raise InputError(
            f"{main.name} has no training {main.kind.many}, only those of other parts"
        )
    is_there = {part: part in others or bool((homes == part).any()) for part in (VALID, TEST)}
    shares = [0.0 if is_there.get(part) else share for part, share in enumerate(split)]
    jobs, drawn = [], _drawn(main, shares, seed, by)
    for number, lot in enumerate(main.lots):
        parts = np.where(lot.parts == TRAIN, drawn[number], lot.parts)
        for part in patterns:
            parts = np.where(fits[part][number], part, parts)
        order = np.argsort(lot.parts, kind="stable")
        chosen = order[~np.isin(lot.parts[order], list(others))]
        if len(chosen):
            jobs.append(Job(lot.take(chosen), parts[chosen]))
    notes: list[str] = []
    for part in [part for part in others if part not in patterns]:
        listing = find(others[part])
        jobs += [Job.whole(lot, part) for lot in listing.lots]
        notes += listing.notes
    for part in range(len(PARTS)):
        if not any((job.parts == part).any() for job in jobs):
            raise too_few(main.name, main.count, main.kind.many, part)
    return jobs, notes


def _drawn(main: Listing, shares: Sequence[float], seed: int, by: str | None) -> list[np.ndarray]:
    """The part that each item of each lot gets by its share, or that its group gets."""
    if by is None:
        return [Split(shares, seed, lot.count).parts(0, lot.count) for lot in main.lots]
    numbers = group_numbers(main.lots, by)
    count = 1 + max(int(some.max(initial=-1)) for some in numbers)
    needed = sum(share > 0 for share in shares)
    if count < needed:
        raise InputError(
            f"`split_by` {by}: {main.name} has {count} {'group' if count == 1 else 'groups'} for "
            f"{needed} parts: give more of them, or `valid` and `test`"
        )
    parts = Split(shares, seed, count).parts(0, count)
    return [parts[some] for some in numbers]


def with_codes(jobs: Sequence[Job], columns: Sequence[Column], kind: FileKind) -> list[Job]:
    """The jobs with the labels of their items as numbers.

    Raises:
        InputError: an item lacks a label, or has one that the columns do not hold.
    """
    return [job._replace(codes=encode_labels(job.lot, columns, kind)) for job in jobs]


def _fits(lot: Lot, pattern: str) -> np.ndarray:
    """Mask (N,) of the items whose names fit a pattern; folders count where it has a slash."""
    titles = lot.titles or [""] * lot.count
    names = titles if "/" in pattern else [PurePosixPath(title).name for title in titles]
    return np.array([fnmatchcase(name, pattern) for name in names], bool)


def _check_patterns(
    main: Listing, patterns: dict[int, str], fits: dict[int, list[np.ndarray]]
) -> None:
    """Refuses patterns that nothing fits, and an item that fits both."""
    for part, pattern in patterns.items():
        if not any(mask.any() for mask in fits[part]):
            first = main.lots[0].title(0, 1)
            raise InputError(
                f"`{_OPTIONS[part]}` {pattern}: no file fits it; there are {first}, ..."
            )
    if len(patterns) < 2:
        return
    for lot, valid, test in zip(main.lots, fits[VALID], fits[TEST], strict=True):
        if (both := valid & test).any():
            place = lot.place(int(both.argmax()))
            raise InputError(f"{place} fits both `valid` and `test`: give patterns that differ")


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
        job: the job it belongs to.
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
        notes: tuple[str, ...] = ()
        if count := len(self._faults):
            shown = ", ".join(fault.short for fault in self._faults[:_SHOWN])
            more = f", and {count - _SHOWN} more" if count > _SHOWN else ""
            notes = (f"skipped {count} of {self._total} {self.kind.many}: {shown}{more}",)
        if not counts:
            raise InputError(f"no {self.kind.one} can be used; the first: {self._faults[0]}")
        for part in parts:
            if part not in counts:
                raise too_few(name, sum(counts.values()), self.kind.many, part, notes)
        return notes

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
