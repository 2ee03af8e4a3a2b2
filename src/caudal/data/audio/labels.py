"""What is said of recordings as the context of a flow: categories and numbers."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from caudal.data.audio.recordings import Found, Recording
from caudal.data.column import Column
from caudal.data.images.folder import natural
from caudal.data.names import near
from caudal.data.stats import MAX_LEVELS
from caudal.errors import InputError

_WHOLE, _NUMBER = r"-?(0|[1-9]\d{0,17})", r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?"


def typed(found: Found) -> Found:
    """The same with numbers where every recording has a number under a label.

    Those with leading zeros ("007") stay text.
    """
    names = {name for recording in found.recordings for name in recording.labels}
    kinds = {name: _kind([r.labels.get(name) for r in found.recordings]) for name in names}

    def convert(recording: Recording) -> Recording:
        labels = {name: kinds[name](value) for name, value in recording.labels.items()}
        return replace(recording, labels=labels)

    return replace(found, parts={p: [convert(r) for r in s] for p, s in found.parts.items()})


def _kind(values: Sequence[Any]) -> Any:
    texts = [str(value) for value in values if value is not None]
    if all(re.fullmatch(_WHOLE, text) for text in texts):
        return int
    zeros = any(re.match(r"[+-]?0\d", text) for text in texts)
    return float if all(re.fullmatch(_NUMBER, t) for t in texts) and not zeros else str


def make_column(name: str, recordings: Sequence[Recording]) -> Column:
    """The column of a label: its categories, in natural order, or real numbers.

    Raises:
        InputError: a recording lacks it, all have the same, or there are too many categories.
    """
    values = [value_of(recording, name) for recording in recordings]
    levels = set(values)
    if len(levels) == 1:
        raise InputError(
            f"--context {name}: each training clip has '{levels.pop()}': go without it"
        )
    if all(isinstance(value, float) for value in levels):
        return Column(name, "real")
    if len(levels) > MAX_LEVELS:
        raise InputError(
            f"--context {name}: it has {len(levels)} different values, at most {MAX_LEVELS} can "
            f"be conditioned on"
        )
    whole = all(isinstance(value, int) for value in levels)
    if whole:
        categories: tuple[Any, ...] = tuple(sorted(levels))
    else:
        categories = tuple(sorted({str(value) for value in levels}, key=natural))
    dtype = "int64" if whole else "string"
    last = len(categories) - 1.0
    return Column(name, "categorical", 0.0, last, 1.0, categories, dtype=dtype)


def value_of(recording: Recording, name: str) -> Any:
    """A label of a recording.

    Raises:
        InputError: it has none of that name.
    """
    value = recording.labels.get(name)
    if value is None or value == "":
        names = [known for known in recording.labels if recording.labels[known] not in (None, "")]
        hint = near(name, names) if names else "there are no labels: give --labels or --metadata"
        raise InputError(f"{recording.place} has no label '{name}'; {hint}")
    return value


def check_labels(recordings: Sequence[Recording], columns: Sequence[Column]) -> None:
    """Refuses labels that the columns do not hold, before anything is decoded.

    Raises:
        InputError: names the file and the label.
    """
    encode(recordings, columns)


def encode(recordings: Sequence[Recording], columns: Sequence[Column]) -> Tensor:
    """Labels as the numbers of columns, float32 (N, C); the text '7' is the number 7.

    Raises:
        InputError: a recording lacks a label, or has one that was not trained with.
    """
    codes = torch.empty(len(recordings), len(columns))
    for place, column in enumerate(columns):
        known = {str(value): code for code, value in enumerate(column.categories or ())}
        for row, recording in enumerate(recordings):
            value = value_of(recording, column.name)
            codes[row, place] = _code(value, known, column, recording)
    return codes


def _code(value: Any, known: dict[str, int], column: Column, recording: Recording) -> float:
    if column.categories is not None:
        if str(value) not in known:
            raise InputError(
                f"{recording.place} has the {column.name} '{value}', which is in no training "
                f"clip; {near(str(value), list(known))}"
            )
        return float(known[str(value)])
    try:
        return float(value)
    except ValueError:
        raise InputError(
            f"{recording.place} has the {column.name} '{value}', which is no number: correct it"
        ) from None
