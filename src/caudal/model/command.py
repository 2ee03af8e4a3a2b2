"""The words of a command line that make a run again."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caudal.modality import Modality
from caudal.model.settings import usual


def command_of(config: Mapping[str, Any], kind: Modality, out: Path) -> str:
    """The command that makes the run of a config again, in the folder `out`."""
    if not config:
        return ""
    defaults = usual(config["recipe"], kind).config()
    start = ["caudal", "train", config["recipe"], "--data", str(config.get("data", "DATA"))]
    skip = ("recipe", "data", "teacher")
    if "teacher" in config:
        start = ["caudal", "distill", config["teacher"], "--student", config["recipe"]]
        skip = ("recipe", "teacher", *(name for name in vars(kind.options(data=""))))
    options = {k: v for k, v in config.items() if k not in skip}
    return shlex.join([*start, *as_words(options, defaults), "--out", str(out)])


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
