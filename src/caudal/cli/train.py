"""`caudal train`: from a table, images or audio to a run folder."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from caudal.cli import (
    finish,
    finish_audio,
    finish_images,
    preview,
    preview_audio,
    preview_images,
)
from caudal.cli.datasets import AnyDataset, open_dataset
from caudal.cli.options import DataOptions, TrainOptions, as_config, wherever_read
from caudal.cli.output import check_run_folder, with_advice
from caudal.cli.screen import Screen
from caudal.cli.train_options import read_options
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.losses import nll, nll_per_element
from caudal.recipes import RECIPES, Recipe
from caudal.training.assemble import assemble
from caudal.training.devices import leads
from caudal.training.fit import Fitted, fit
from caudal.training.progress import RichReporter

USAGE = """usage: caudal train RECIPE --data DATA [--out FOLDER] ...

Fits a flow to a table, to images or to audio. RECIPE is one of {recipes}; see
caudal recipes for what each is good for, and caudal train RECIPE --help for all options.

  caudal train nsf --data table.csv                            a table
  caudal train glow --data FOLDER                              images
  caudal train wavenet --data FOLDER                           audio, given its log-mel spectrum
  caudal train wavenet --data vowels --context vowel           built-in audio, given a label"""


def run(words: list[str]) -> int:
    """Runs the command."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE.format(recipes=", ".join(RECIPES)))
        return 0 if words else 2
    options = read_options(words)
    screen = Screen(options.json)
    out = Path(options.out or default_folder(options.recipe, options.data))
    if not options.resume:
        check_run_folder(out, options.overwrite)
    data = open_dataset(options, screen)
    show_data(screen, data)
    flow = build(options.recipe, data, options.training.seed)
    preview.show_recipe(screen, options.recipe, flow, data)
    if data.schema.kind == "audio":
        preview_audio.show_receptive_field(screen, options.recipe, data.schema.rate)
    config = config_of(options, data)
    try:
        fitted = _fit(flow, data, options, out, wherever_read(config))
        if leads():
            _finish(screen, out, options, data, fitted, config)
    except KeyboardInterrupt as error:
        raise with_advice(error, out, f"caudal train --out {out} --resume") from None
    return 0


def show_data(screen: Screen, data: AnyDataset) -> None:
    """What was found in the data."""
    if data.schema.kind == "images":
        preview_images.show_data(screen, data)
    elif data.schema.kind == "audio":
        preview_audio.show_data(screen, data)
    else:
        preview.show_data(screen, data)


def config_of(options: TrainOptions[Any], data: AnyDataset) -> dict[str, Any]:
    """What config.yaml holds; of images, what the flow takes of pixels, whoever chose it."""
    chosen = (options.recipe, options.data, options.training, options.report)
    if data.schema.kind == "audio":
        schema = data.schema
        audio = replace(options.audio, rate=schema.rate, window=schema.window)
        return as_config(*chosen, audio, options.images.corrupt)
    if data.schema.kind == "images":
        pixels: Any = data.schema.pixels
        return as_config(*chosen, replace(options.images, pixels=pixels, bits=data.schema.bits))
    return as_config(*chosen)


def _finish(
    screen: Screen,
    out: Path,
    options: TrainOptions[Any],
    data: AnyDataset,
    fitted: Fitted,
    config: dict[str, Any],
) -> None:
    if data.schema.kind == "images":
        finish_images.finish(screen, out, options.recipe, data, fitted, config, options.report)
    elif data.schema.kind == "audio":
        finish_audio.finish(screen, out, options.recipe, data, fitted, config, options.report)
    else:
        finish.finish(screen, out, options.recipe, data, fitted, config, options.report)


def default_folder(recipe: Recipe, data: DataOptions) -> str:
    """runs/RECIPE-DATA, the data by the file's name without suffixes."""
    name = Path(data.data).name or Path(data.data).resolve().name
    return f"runs/{recipe.name}-{name.split('.')[0].split(':')[-1]}"


def build(recipe: Recipe, data: AnyDataset, seed: int) -> Flow:
    """A new flow for the data, its weights drawn by the seed.

    Raises:
        InputError: the recipe's fields make no flow.
    """
    torch.manual_seed(seed)
    try:
        return assemble(recipe, data.schema)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"recipe {recipe.name}: {error}") from None


def _fit(
    flow: Flow, data: AnyDataset, options: TrainOptions[Any], out: Path, config: dict[str, Any]
) -> Fitted:
    sound = data.schema.kind == "audio"
    reporter = RichReporter(elements=data.schema.countable)
    if sound:  # whose loss is a mean over samples
        reporter = RichReporter(elements=1, unit="bits/sample")
    return fit(
        flow,
        data.train,
        data.valid,
        training=options.training,
        loss=nll_per_element if sound else nll,
        out=out,
        resume=options.resume,
        overwrite=options.overwrite,
        recipe=options.recipe,
        schema=data.schema,
        reporter=reporter,
        config=config,
        watch=_film(flow, data, options, out),
    )


def _film(
    flow: Flow, data: AnyDataset, options: TrainOptions[Any], out: Path
) -> Callable[[int], object] | None:
    """What draws samples of images on the way, if there shall be pictures."""
    if data.schema.kind != "images" or not options.report:
        return None
    return finish_images.film(options.recipe, flow, data.schema, options.training.seed, out)
