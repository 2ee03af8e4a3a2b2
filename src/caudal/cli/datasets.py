"""From the options to a data set: a table, images, or audio."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from caudal.cli.options import TABLE_ONLY, DataOptions, ReadingOptions, TrainOptions
from caudal.cli.screen import Screen
from caudal.data import Dataset, open_data
from caudal.data.audio import finds_audio, open_audio
from caudal.data.audio.locate import FORMATS
from caudal.data.files.read import Progress
from caudal.data.images import finds_images, open_images
from caudal.errors import InputError
from caudal.recipes import RECIPES
from caudal.recipes.wavenet import AudioRecipe

TRAINABLE = " or ".join(n for n, r in RECIPES.items() if r.audio and r.scores != "sequential")

AnyDataset = Dataset


def open_dataset(given: TrainOptions[Any], screen: Screen) -> AnyDataset:
    """The data that the options name; pixels as the recipe has them, if not told otherwise.

    Raises:
        InputError: they cannot be used, or options are given that mean nothing of them.
    """
    options, images = given.data, given.images
    sound = finds_audio(options.data)
    if sound or given.recipe.audio:
        return _open_audio(given, sound, screen)
    names = [field.name for field in fields(given.audio)]
    refuse_given(given.audio, names, "audio", f"{options.data} has none")
    found = finds_images(options.data)
    if found or not given.recipe.vectors:
        but = f"{options.data} has images" if found else f"{given.recipe.name} is for images"
        refuse_given(options, TABLE_ONLY, "tables", but)
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


def _open_audio(given: TrainOptions[Any], sound: bool, screen: Screen) -> Dataset:
    """The clips that the options name, in frames as the recipe has them."""
    options, recipe = given.data, given.recipe
    if not isinstance(recipe, AudioRecipe):
        raise InputError(
            f"{options.data} has audio, which {recipe.name} does not model: take {TRAINABLE}"
        )
    if recipe.scores == "sequential":
        raise InputError(
            f"{recipe.name} scores one sample at a time, and would train for ever by maximum "
            f"likelihood: train {TRAINABLE}, and make a student of it with caudal distill"
        )
    if not sound and os.path.exists(options.data):
        raise InputError(
            f"{recipe.name} is for audio, and {options.data} has none: give {FORMATS}"
        )
    but = f"{options.data} has audio" if sound else f"{recipe.name} is for audio"
    refuse_given(options, TABLE_ONLY, "tables", but)
    names = [field.name for field in fields(given.images) if field.name != "corrupt"]
    refuse_given(given.images, names, "images", but)
    return open_audio(
        options.data,
        hop=recipe.hop,
        context=options.context or ("mel",),
        corrupt=given.images.corrupt,
        valid=options.valid,
        test=options.test,
        split=options.split,
        seed=options.split_seed,
        progress=reading(screen, "reading audio"),
        **{field.name: getattr(given.audio, field.name) for field in fields(given.audio)},
    )


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


def refuse_reading(
    options: ReadingOptions, run: str, what: str = "rows of a table", but: str = ""
) -> None:
    """Refuses options of how images are read, all `but` one, given to a run on something else.

    Raises:
        InputError: names the first.
    """
    names = [field.name for field in fields(options) if field.name != but]
    refuse_given(options, names, "images", f"{run} models {what}")


def reading(screen: Screen, what: str = "reading images") -> Progress:
    """A progress bar over files that are read."""

    def track(items: Iterable[Any], total: int) -> Iterable[Any]:
        return screen.track(items, what, total)

    return track
