"""Which recordings are for training, validation and test."""

import os
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from caudal.data.audio.locate import find_audio
from caudal.data.audio.recordings import Found, Recording
from caudal.data.parts import PARTS
from caudal.data.splits import TEST, TRAIN, VALID, Split
from caudal.errors import InputError

Parts = dict[int, list[Recording]]
_OPTIONS = {VALID: "--valid", TEST: "--test"}


def is_pattern(given: Any) -> bool:
    """Whether validation or test recordings are given by a pattern of their names."""
    if not isinstance(given, str) or os.path.exists(given):
        return False
    return any(mark in given for mark in "*?[")


def place(
    main: Found,
    valid: Any,
    test: Any,
    shares: Sequence[float],
    seed: int,
    prepare: Callable[[Found], Found],
) -> tuple[Parts, list[str]]:
    """The recordings of each part, and notes.

    What is given takes the place of a part of the main source, or of a share of its training
    recordings.

    Args:
        main: the source, prepared.
        valid: another source, or a pattern, or None.
        test: the same.
        shares: of training, validation and test recordings.
        seed: of the split.
        prepare: what to do to other sources.

    Raises:
        InputError: a pattern that nothing fits, or a part without recordings.
    """
    parts = dict(main.parts)
    notes: list[str] = []
    others = {VALID: valid, TEST: test}
    patterns = {part: given for part, given in others.items() if is_pattern(given)}
    for part, given in others.items():
        if given is not None:
            parts.pop(part, None)
        if given is not None and part not in patterns:
            found = prepare(find_audio(given))
            parts[part] = found.recordings
            notes += found.notes
    _take(main, parts, patterns)
    if TRAIN not in parts:
        raise InputError(f"{main.name} has no training clips, only those of other parts")
    _split(parts, shares, seed)
    for part in range(len(PARTS)):
        if not parts.get(part):
            raise no_clips(main, part)
    return dict(sorted(parts.items())), notes


def _take(main: Found, parts: Parts, patterns: dict[int, str]) -> None:
    """Moves the recordings that fit a pattern into its part."""
    for part, pattern in patterns.items():
        if not any(_fits(recording, pattern) for recording in main.recordings):
            first = main.recordings[0].name
            raise InputError(
                f"{_OPTIONS[part]} {pattern}: no file fits it; there are {first}, ..."
            )
        parts[part] = []
    for home in (TRAIN, VALID, TEST):
        if home in patterns:
            continue
        for recording in parts.get(home, []):
            into = [part for part, pattern in patterns.items() if _fits(recording, pattern)]
            if len(into) > 1:
                raise InputError(f"{recording.place} fits both --valid and --test: part them")
            if into:
                parts[into[0]].append(recording)
        if home in parts:
            moved = {id(r) for part in patterns for r in parts[part]}
            parts[home] = [r for r in parts[home] if id(r) not in moved]


def _fits(recording: Recording, pattern: str) -> bool:
    name = recording.name if "/" in pattern else Path(recording.name).name
    return fnmatchcase(name, pattern)


def _split(parts: Parts, shares: Sequence[float], seed: int) -> None:
    """The training recordings give shares to those parts that there are not."""
    wanted = [shares[part] if part == TRAIN or part not in parts else 0.0 for part in range(3)]
    given = parts.pop(TRAIN)
    last = max((recording.number for recording in given), default=-1)
    numbers = Split(wanted, seed).parts(0, last + 1)
    for recording in given:
        parts.setdefault(int(numbers[recording.number]), []).append(recording)


def no_clips(found: Found, part: int) -> InputError:
    """The error for a part that got no clips."""
    return InputError(
        f"{found.name} has {len(found.recordings)} clips, which leaves none for {PARTS[part]}: "
        f"give more clips, or other shares with --split"
    )
