"""Which images or clips are for training, validation and test."""

import os
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from caudal.data.column import Column
from caudal.data.files.labels import encode_labels
from caudal.data.files.lots import FileKind, Listing, Lot
from caudal.data.splits import PARTS, TEST, TRAIN, VALID, Split, too_few
from caudal.errors import InputError

_OPTIONS = {VALID: "valid", TEST: "test"}


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
    if not isinstance(data, str) or os.path.exists(data):
        return False
    return any(mark in data for mark in "*?[")


def place(
    main: Listing,
    valid: Any,
    test: Any,
    split: Sequence[float],
    seed: int,
    find: Callable[[Any], Listing],
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
    jobs = []
    for number, lot in enumerate(main.lots):
        parts = np.where(lot.parts == TRAIN, Split(shares, seed).parts(0, lot.count), lot.parts)
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
            raise InputError(f"{place} fits both `valid` and `test`: part them")
