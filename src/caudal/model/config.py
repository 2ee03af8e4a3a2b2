"""The config of a run folder: which data it names, and whether they are still there."""

import os
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from caudal.data.files.tars import SUFFIX as TAR
from caudal.errors import InputError
from caudal.modality import MODALITIES, Modality, modality
from caudal.model.settings import with_values
from caudal.recipes import RECIPES
from caudal.training.run import Run

PATHS = ("data", "valid", "test", "metadata")
"""Options that name files or folders of data."""
BESIDE = ("recipe", "out", "caudal", "report", "teacher")
"""Keys of config.yaml that are no options of the recipe, the data or the training."""


def without_beside(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a config, without what stands beside them."""
    return {k: v for k, v in config.items() if k not in BESIDE or k == "report"}


def of_resumed(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a run that goes on; fields that its recipe has gained are as they were then.

    Else their values would follow from the data, as in a new run.
    """
    name = config["recipe"]
    every = fields(RECIPES[name]) if name in RECIPES else ()  # one of one's own, of a class
    return {**{f.name: f.default for f in every if f.default is not MISSING}, **config}


def wherever_read(config: dict[str, Any]) -> dict[str, Any]:
    """The config with absolute paths of its data, which hold in other folders too."""
    names = (*PATHS, "types_from")
    paths = {name: path for name in names if (path := config.get(name)) is not None}
    # Those of `valid` and `test` may be patterns of names within the data.
    local = {k: p for k, p in paths.items() if is_path(p) or _is_source(k, p)}
    return {**config, **{k: os.path.abspath(p) for k, p in local.items()}}


def _is_source(name: str, data: Any) -> bool:
    """Whether a pattern is one of files, not of names within the data."""
    return _is_pattern(data) and (name == "data" or data.endswith(TAR))


def is_path(data: Any) -> bool:
    """Whether data is a path, not a built-in name, a hub's, a pattern, or an object."""
    if not isinstance(data, str) or data in {
        name for kind in MODALITIES for name in modality(kind).names
    }:
        return False
    return not _is_pattern(data) and ":" not in data.partition("/")[0]


def _is_pattern(data: Any) -> bool:
    """Whether data is a pattern of files on this machine."""
    if not isinstance(data, str) or "://" in data or os.path.exists(data):
        return False
    return any(sign in data for sign in ("*?[{" if data.endswith(TAR) else "*?["))


def missing_paths(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The options of a config whose files are no longer there: pairs of name and path."""
    paths = [(name, config.get(name)) for name in PATHS]
    return [(n, p) for n, p in paths if p is not None and is_path(p) and not Path(p).exists()]


def read_run_config(run: Run, kind: Modality) -> dict[str, Any]:
    """The config of a run folder, whose data options are checked, for people edit it; {} if none.

    Raises:
        InputError: the file, the option, and what it must be.
    """
    if not run.config_path.exists():
        return {}
    config = run.read_config()
    try:
        _check_sources(config)
        data_options(config, kind)
    except InputError as error:
        raise InputError(f"{run.config_path}: {error}") from None
    return config


def _check_sources(config: Mapping[str, Any]) -> None:
    """Refuses data that are not named by a text, as those of a config must be."""
    for name in ("data", "valid", "test"):
        value = config.get(name)
        if value is not None and not isinstance(value, str):
            raise InputError(f"`{name}` {value}: must be a file, a folder or a name")


def data_options(config: Mapping[str, Any], kind: Modality) -> Any:
    """The options of data in a config."""
    names = {f.name for f in fields(kind.options)}
    return with_values(kind.options(data=""), {k: v for k, v in config.items() if k in names})
