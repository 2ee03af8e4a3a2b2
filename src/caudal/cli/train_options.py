"""The options of `caudal train`: typed, out of files, and out of presets."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from caudal.cli.config import check_recipe, config_words, read_config
from caudal.cli.options import (
    AudioOptions,
    DataOptions,
    ImageOptions,
    TrainOptions,
    usual_training,
)
from caudal.cli.parse import parse
from caudal.cli.presets import describe, find_preset, preset_words
from caudal.errors import InputError
from caudal.recipes import RECIPES


def read_options(words: list[str]) -> TrainOptions[Any]:
    """The options out of the words, and out of the files that --config and --resume name."""
    name = None if words[0].startswith("-") else words[0]
    typed = words if name is None else words[1:]
    if name is not None:
        check_recipe(name)
    peeked = _peek(typed)
    file = _config_file(peeked)
    config: dict[str, Any] = {} if file is None else read_config(file)
    name = name or config.get("recipe")
    if config and config["recipe"] != name:
        raise InputError(f"{file} is of the recipe {config['recipe']}, not {name}: leave one out")
    check_recipe(name)
    before = config_words(config, typed) if config else []
    if peeked.preset is not None:
        before += preset_words(str(name), find_preset(str(name), peeked.preset))
    try:
        options = _parse(str(name), [*before, *typed])
    except InputError:
        if config:
            _check_config(str(name), config, file)
        raise
    if options.resume and options.overwrite:
        raise InputError("--resume and --overwrite: choose one of them")
    return options


def _parse(name: str, words: Sequence[str]) -> TrainOptions[Any]:
    generic: Any = TrainOptions
    kind: type[TrainOptions[Any]] = generic[RECIPES[name]]
    return parse(kind, words, f"caudal train {name}", _defaults(name), describe(name))


def _check_config(name: str, config: dict[str, Any], file: Path | None) -> None:
    """Says that it is the file, and not what was typed, if that cannot be read."""
    try:
        _parse(name, config_words({"data": "some", **config}))
    except InputError as error:
        raise InputError(f"{file}: {error}") from None


def _defaults(name: str) -> TrainOptions[Any]:
    import tyro

    data = DataOptions(tyro.MISSING)
    recipe = RECIPES[name]
    training = usual_training(recipe)
    return TrainOptions(data, ImageOptions(), AudioOptions(), recipe(), training)


def _config_file(found: "_Peeked") -> Path | None:
    """The file that --config names; with --resume that of the run in --out, if there is one."""
    if found.config is not None:
        return Path(found.config)
    if found.resume and found.out is not None and (Path(found.out) / "config.yaml").is_file():
        return Path(found.out) / "config.yaml"
    return None


@dataclass(frozen=True)
class _Peeked:
    """The options that say where further options are."""

    config: str | None
    preset: str | None
    out: str | None
    resume: bool


def _peek(words: list[str]) -> _Peeked:
    import argparse

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for flag in ("--config", "--preset", "--out"):
        parser.add_argument(flag, nargs="?")
    parser.add_argument("--resume", action="store_true")
    found, _ = parser.parse_known_args(words)
    return _Peeked(found.config, found.preset, found.out, found.resume)
