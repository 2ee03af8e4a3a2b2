"""The images that a finished run was trained on, and others that it can take."""

from dataclasses import replace
from typing import Any

from caudal.cli.datasets import reading
from caudal.cli.opened import OpenedRun, parts
from caudal.cli.options import ReadingOptions
from caudal.cli.screen import Screen
from caudal.data import Dataset, ImageSchema
from caudal.data.images import labels_of_part, open_images, open_whole
from caudal.data.splits import TEST

INSTEAD = "give other images with --data"


def image_dataset(opened: OpenedRun, screen: Screen) -> Dataset:
    """The images the run was trained on, split as they were then; a note where they changed.

    Raises:
        InputError: they cannot be opened, or it is not known which they were.
    """
    config = opened.placed(INSTEAD)
    dataset = open_images(
        config["data"],
        schema=opened.images,
        corrupt=config.get("corrupt", "refuse"),
        progress=reading(screen),
        **_size(opened),
        **parts(config),
    )
    return replace(dataset, notes=(*dataset.notes, *opened.changed(dataset)))


def test_labels(opened: OpenedRun) -> list[Any] | None:
    """The class of each test image, if there are classes, also of a flow that takes none."""
    config = opened.placed(INSTEAD)
    return labels_of_part(config["data"], TEST, **parts(config))


def other_images(
    opened: OpenedRun, data: str, options: ReadingOptions, screen: Screen
) -> tuple[Any, list[str], tuple[str, ...]]:
    """All images of another source, cut and scaled as those of the run if not told otherwise.

    Raises:
        InputError: the run does not model such images, or they cannot be read.
    """
    told = {name: v for name in ("crop", "resize") if (v := getattr(options, name))}
    size = told or _size(opened)
    corrupt, progress = options.corrupt, reading(screen)
    items = open_whole(data, opened.images, corrupt=corrupt, progress=progress, **size)
    return items.source, items.names, items.notes


def class_names(schema: ImageSchema, context: Any) -> list[Any] | None:
    """The class of each row of context (N, 1); None for a flow that takes none."""
    if context is None:
        return None
    names = schema.context[0].categories or ()
    return [names[code] for code in context[:, 0].long().tolist()]


def _size(opened: OpenedRun) -> dict[str, Any]:
    """The options that say of which size the run's images are made."""
    return {name: opened.config.get(name, ()) for name in ("crop", "resize")}
