"""What a run's config.yaml says of its data, checked: people edit it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from caudal.errors import InputError

_Check = Callable[[Any], bool]


def read_data_options(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """The config, in which the options of data are of the types that those of flags are.

    Raises:
        InputError: one is not; names the file, the option and what it must be.
    """
    sizes = {k: [v] for k in ("crop", "resize") if _is_whole(v := config.get(k))}
    config = {**config, **sizes}
    for name, (holds, wanted) in _CHECKS.items():
        if name in config and not holds(config[name]):
            raise InputError(f"{path}: '{name}' must be {wanted}, not {config[name]!r}")
    return config


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_source(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _are_sizes(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_whole, value))


def _are_shares(value: Any) -> bool:
    numbers = isinstance(value, list) and all(_is_whole(v) or isinstance(v, float) for v in value)
    return numbers and len(value) == 3


_CHECKS: dict[str, tuple[_Check, str]] = {
    "data": (_is_text, "a file, a folder or a name"),
    "valid": (_is_source, "a file, a folder or a name, or null"),
    "test": (_is_source, "a file, a folder or a name, or null"),
    "split": (_are_shares, "a list of three numbers"),
    "split_seed": (_is_whole, "a whole number"),
    "missing": (_is_text, "a word"),
    "crop": (_are_sizes, "a list of whole numbers"),
    "resize": (_are_sizes, "a list of whole numbers"),
    "corrupt": (_is_text, "a word"),
    "labels": (_is_source, "a pattern of file names, or null"),
    "metadata": (_is_source, "a file, or null"),
}
