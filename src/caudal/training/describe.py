"""A recipe as plain data for a file, and back."""

import dataclasses
from typing import Any

from caudal.errors import InputError
from caudal.recipes import RECIPES, Recipe


def describe(recipe: Recipe) -> dict[str, Any]:
    """The name and the fields, as JSON can hold them."""
    return {"name": recipe.name, "fields": _plain(dataclasses.asdict(recipe))}


def rebuild(described: Any) -> Recipe:
    """The recipe that `describe` described, perhaps through JSON.

    Raises:
        InputError: an unknown recipe or field, or a value of the wrong type.
    """
    if not isinstance(described, dict) or described.get("name") not in RECIPES:
        name = described.get("name") if isinstance(described, dict) else described
        raise InputError(f"unknown recipe {name!r}: known are {', '.join(sorted(RECIPES))}")
    kind = RECIPES[described["name"]]
    known = {field.name for field in dataclasses.fields(kind)}
    values = {}
    for name, value in described.get("fields", {}).items():
        if name not in known:
            raise InputError(f"recipe {kind.name} has no field {name!r}: a newer caudal's file?")
        values[name] = _tuples(value)
    return kind(**values)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
