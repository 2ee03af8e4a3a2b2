"""The clips that a finished run was trained on, and others that it can take."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from caudal.cli.datasets import reading
from caudal.cli.opened import OpenedRun, parts
from caudal.cli.screen import Screen
from caudal.data import Dataset
from caudal.data.audio import Clips, open_audio, open_clips
from caudal.data.column import Column

INSTEAD = "give other clips with --data"


def audio_dataset(opened: OpenedRun, screen: Screen, instead: str = INSTEAD) -> Dataset:
    """The clips the run was trained on, split as they were then; a note where they changed.

    Raises:
        InputError: they cannot be opened, or it is not known which they were.
    """
    config = opened.placed(instead)
    dataset = open_audio(
        config["data"],
        schema=opened.audio,
        corrupt=config.get("corrupt", "refuse"),
        progress=reading(screen, "reading audio"),
        **_names(config),
        **parts(config),
    )
    return replace(dataset, notes=(*dataset.notes, *opened.changed(dataset)))


def other_clips(
    opened: OpenedRun,
    data: str,
    corrupt: str,
    screen: Screen,
    fixed: Mapping[str, float] | None = None,
) -> tuple[Clips, tuple[str, ...]]:
    """All clips of another folder, or one file, treated as the run's; and what to know of them.

    `fixed` are codes of labels that all of them have, whatever their names say.

    Raises:
        InputError: they cannot be read, or lack the labels the flow is given.
    """
    progress = reading(screen, "reading audio")
    names = _names(opened.config)
    codes = fixed or {}
    columns = [column for column in opened.audio.context if column.name in codes]
    given = {column.name: _value(column, codes[column.name]) for column in columns}
    options = {"corrupt": corrupt, "progress": progress, "fixed": given, **names}
    items = open_clips(data, opened.audio, **options)
    return items.source, items.notes  # type: ignore[return-value]


def _value(column: Column, code: float) -> Any:
    """What a code of a label stands for."""
    return code if column.categories is None else column.categories[int(code)]


def _names(config: dict[str, Any]) -> dict[str, Any]:
    """The options that say where labels stand."""
    return {name: config.get(name) for name in ("labels", "metadata")}
