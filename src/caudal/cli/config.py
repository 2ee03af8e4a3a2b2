"""`--config` and `--resume`: options out of a file, as words that stand before the user's own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from caudal.cli.lists import LISTS, flag_of
from caudal.cli.options import as_flags, default_config
from caudal.data.names import near
from caudal.errors import InputError
from caudal.recipes import RECIPES

BESIDE = ("recipe", "out", "caudal")  # keys that are no options of recipe, data or training


def read_config(path: str | Path) -> dict[str, Any]:
    """The options in a file; keys are the names of flags, with _ or - between their words.

    Raises:
        InputError: no such file, not YAML, an unknown recipe or key.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "config.yaml"
    if not path.is_file():
        raise InputError(f"--config {path}: no such file")
    config = {str(k).replace("-", "_"): v for k, v in _read_yaml(path).items()}
    check_recipe(config.get("recipe"), str(path))
    defaults = default_config(RECIPES[config["recipe"]])
    if "teacher" in config:
        raise InputError(f"{path} is of a student: go on, or repeat it, with caudal distill")
    known = [*defaults, *(name for name in BESIDE if name not in defaults)]
    for name, value in config.items():
        if name not in known:
            raise InputError(f"{path}: unknown key '{name}'; {near(name, known)}")
        if value is None and defaults.get(name) is not None:
            raise InputError(f"{path}: '{name}' has no value: give one, or leave the line out")
        if isinstance(value, dict):
            raise InputError(f"{path}: '{name}' must be a value or a list, not a mapping")
    return config


def check_recipe(name: Any, where: str = "") -> None:
    """Refuses a recipe that there is not.

    Raises:
        InputError: with near names.
    """
    if name not in RECIPES:
        start = f"{where}: " if where else ""
        if name is None:
            raise InputError(f"{start}no recipe: give one of {', '.join(RECIPES)}")
        raise InputError(f"{start}no recipe '{name}'; {near(str(name), list(RECIPES))}")


def config_words(config: dict[str, Any], typed: Sequence[str] = ()) -> list[str]:
    """The options of a config as words, to be read before those that a user typed.

    Lists that were typed are left out: their values would add up, where they should override.
    """
    lists = {flag_of(word)[2:] for word in typed if flag_of(word) in LISTS}
    options = {k: v for k, v in config.items() if k not in ("recipe", "caudal", *lists)}
    return as_flags(options, default_config(RECIPES[config["recipe"]]))


def _read_yaml(path: Path) -> dict[Any, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read as YAML: {error}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path}: must hold names and values, such as lr: 0.001")
    return found
