"""From the options to a data set: a table, or images."""

from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from caudal.cli.options import TABLE_ONLY, DataOptions, ReadingOptions, TrainOptions
from caudal.cli.screen import Screen
from caudal.data import Dataset, ImageDataset, open_data
from caudal.data.images import finds_images, open_images
from caudal.data.images.fill import Progress
from caudal.errors import InputError

AnyDataset = Dataset | ImageDataset


def open_dataset(given: TrainOptions[Any], screen: Screen) -> AnyDataset:
    """The data that the options name; pixels as the recipe has them, if not told otherwise.

    Raises:
        InputError: they cannot be used, or options are given that mean nothing of them.
    """
    options, images = given.data, given.images
    if finds_images(options.data) or not given.recipe.vectors:
        refuse_given(options, TABLE_ONLY, "tables", f"{options.data} has images")
        taken = {field.name: getattr(images, field.name) for field in fields(images)}
        return open_images(
            options.data,
            context=options.context,
            valid=options.valid,
            test=options.test,
            split=options.split,
            seed=options.split_seed,
            progress=reading(screen),
            **{**taken, "pixels": images.pixels or given.recipe.pixels},
        )
    data = open_table_data(options)
    refuse_given(given, ["preset"], "images", f"{options.data} is a table")
    names = [field.name for field in fields(images)]
    refuse_given(images, names, "images", f"{options.data} is a table")
    return data


def open_table_data(options: DataOptions) -> Dataset:
    """The table that the options name."""
    return open_data(
        options.data,
        columns=options.columns,
        context=options.context,
        types=options.types,
        missing=options.missing,
        valid=options.valid,
        test=options.test,
        split=options.split,
        seed=options.split_seed,
    )


def refuse_given(options: Any, names: Sequence[str], whose: str, but: str) -> None:
    """Refuses options of that name that are not as they are by default.

    Raises:
        InputError: says of what they are options, and what there is instead.
    """
    usual = {field.name: field.default for field in fields(options)}
    for name in names:
        if getattr(options, name) != usual[name]:
            flag = name.replace("_", "-")
            raise InputError(f"--{flag} is for {whose}, and {but}: leave it out")


def refuse_reading(options: ReadingOptions, run: str) -> None:
    """Refuses options of how images are read, given to a run on a table.

    Raises:
        InputError: names the first.
    """
    names = [field.name for field in fields(options)]
    refuse_given(options, names, "images", f"{run} models rows of a table")


def reading(screen: Screen) -> Progress:
    """A progress bar over images that are read."""

    def track(items: Iterable[Any], total: int) -> Iterable[Any]:
        return screen.track(items, "reading images", total)

    return track
