"""The words of a command line that make a run again."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caudal.modality import Modality
from caudal.model.settings import plain, usual


def command_of(config: Mapping[str, Any], kind: Modality, out: Path) -> str:
    """The command that makes the run of a config again, in the folder `out`."""
    if not config:
        return ""
    if "teacher" in config:
        start, options, defaults = _distill(config, kind)
    else:
        start, options, defaults = _train(config, kind)
    return shlex.join([*start, *as_words(options, defaults), "--out", str(out)])


Parts = tuple[list[str], dict[str, Any], dict[str, Any]]
"""The first words of a command, its options, and those of them that are usual."""


def _train(config: Mapping[str, Any], kind: Modality) -> Parts:
    start = ["caudal", "train", config["recipe"], "--data", str(config.get("data", "DATA"))]
    options = {k: v for k, v in config.items() if k not in ("recipe", "data")}
    return start, options, usual(config["recipe"], kind).config()


def _distill(config: Mapping[str, Any], kind: Modality) -> Parts:
    """The size of a student follows from its teacher, and so it is told in full."""
    start = ["caudal", "distill", config["teacher"], "--student", config["recipe"]]
    of_data = vars(kind.options(data=""))
    options = {k: v for k, v in config.items() if k not in ("recipe", "teacher", *of_data)}
    how = kind.distillation
    return start, options, {**plain(how.training), **plain(how()), "report": True}


def as_words(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """The flags that say what `options` do, without those that are as in `defaults`."""
    words = []
    for name, value in options.items():
        if name in defaults and value == defaults[name]:
            continue
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif value is not None:
            words += _flag(flag, list(value) if isinstance(value, list | tuple) else [value])
    return words


def _flag(flag: str, values: list[Any]) -> list[str]:
    texts = list(map(str, values))
    if any(text.startswith("-") for text in texts):
        return [f"{flag}={text}" for text in texts]  # otherwise they would look like options
    return [flag, *texts]
