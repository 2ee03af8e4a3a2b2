"""What the options ask of clips."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from caudal.data.audio.folder import FOLDER
from caudal.data.audio.labels import typed
from caudal.data.audio.metadata import find_metadata
from caudal.data.audio.pattern import Pattern
from caudal.data.audio.recordings import Found
from caudal.data.names import near
from caudal.errors import InputError

MEL, NONE = "mel", "none"
_WINDOW = 0.046  # seconds
_FEWEST = 16  # samples of a window
_SLOWEST = 1000  # Hz: a lower rate was meant in kHz


def read_context(context: Sequence[str], mels: int) -> tuple[tuple[str, ...], int]:
    """The labels to condition on, and how many bands.

    Raises:
        InputError: a name twice, "none" among others, or a spectrum of no bands.
    """
    for name in context:
        if list(context).count(name) > 1:
            raise InputError(f"--context: '{name}' is named twice")
    if NONE in context and len(context) > 1:
        raise InputError(f"--context {' '.join(context)}: 'none' goes alone")
    if MEL in context and mels < 1:
        raise InputError(f"--mels {mels}: 'mel' in --context needs at least 1 band")
    return tuple(c for c in context if c not in (MEL, NONE)), mels if MEL in context else 0


def crop_of(seconds: float, rate: int, hop: int) -> int:
    """Samples of a training row: whole frames, at least one.

    Raises:
        InputError: names the option.
    """
    if not (math.isfinite(seconds) and seconds > 0):
        raise InputError(f"--seconds {seconds:g}: must be above 0")
    if hop < 1:
        raise InputError(f"--hop {hop}: must be at least 1")
    if hop > seconds * rate:
        raise InputError(
            f"--hop {hop}: crops of {seconds:g} s have {seconds * rate:.0f} samples at {rate} Hz: "
            f"give a smaller --hop, or more --seconds"
        )
    return round(seconds * rate / hop) * hop


def window_of(rate: int) -> int:
    """The power of two nearest to 46 ms."""
    return int(2 ** round(math.log2(_WINDOW * rate)))


def check_window(window: int, bands: int, rate: int) -> None:
    """Refuses a window that no spectrum comes out of, and more bands than it has frequencies.

    Raises:
        InputError: names the option.
    """
    if bands and not _FEWEST <= window <= rate:
        raise InputError(f"--window {window}: give {_FEWEST} to {rate} samples, a second at most")
    if bands > window // 2 + 1:
        raise InputError(
            f"--mels {bands}: a window of {window} samples tells {window // 2 + 1} frequencies "
            f"apart: give fewer bands, or a longer --window"
        )


def check_rate(rate: int | None) -> None:
    """Refuses a rate that no audio has.

    Raises:
        InputError: names it.
    """
    if rate is not None and rate < _SLOWEST:
        raise InputError(f"--rate {rate}: give samples a second, such as 16000")


def with_labels(
    found: Found,
    labels: str | None,
    metadata: str | None,
    wanted: Sequence[str],
    given: Mapping[str, Any] | None = None,
) -> Found:
    """The recordings with what is given, and what their names, a table and their folders say.

    A pattern or a table is not looked at where all that is wanted is given, and a table that was
    not asked for is read only for labels that nothing else gives.

    Raises:
        InputError: a label that there is not, or a file that the pattern or table does not fit.
    """
    given = dict(given or {})
    every = found.recordings
    if given and set(wanted) <= set(given):
        labels = metadata = None
    pattern = None if labels is None else Pattern(labels)
    names = {name for recording in every for name in recording.labels} | set(given)
    if pattern is not None:
        for recording in every:
            recording.labels.update(pattern.labels(recording))
        names.update(pattern.names)
    if taken := names & {MEL, NONE}:
        raise InputError(f"--labels: '{taken.pop()}' is no name for a label: choose another")
    if metadata is not None or set(wanted) - names:
        names.update(_from_table(found, metadata))
    for recording in every:
        recording.labels.update(given)
    for name in wanted:
        if name not in names:
            hint = near(name, [MEL, NONE, *sorted(names)])
            more = "" if names - {FOLDER} else " (labels come with --labels or --metadata)"
            raise InputError(f"--context {name}: {found.name} has no such label; {hint}{more}")
    return typed(found)


def _from_table(found: Found, given: str | None) -> tuple[str, ...]:
    table = find_metadata(found, given)
    if table is None:
        return ()
    for recording in found.recordings:
        for name, value in table.labels(recording).items():
            recording.labels.setdefault(name, value)
    return table.columns
