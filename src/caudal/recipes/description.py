"""A recipe as plain data for a file, and back."""

from dataclasses import asdict, fields
from numbers import Integral
from typing import Any

from caudal.errors import InputError
from caudal.names import near
from caudal.recipes.recipe import Recipe
from caudal.recipes.registry import RECIPES


def describe(recipe: Recipe) -> dict[str, Any]:
    """The name and the fields of a recipe, as JSON can hold them."""
    return {"name": recipe.name, "fields": _plain(asdict(recipe))}


def rebuild(described: Any) -> Recipe:
    """The recipe that `describe` described, perhaps through JSON.

    Raises:
        InputError: an unknown recipe or field, or a value of the wrong type.
    """
    name = described.get("name") if isinstance(described, dict) else described
    if not (isinstance(described, dict) and isinstance(name, str) and name in RECIPES):
        raise InputError(
            f"unknown recipe {name!r}: import the module that defines and registers it, or "
            f"install a package with its entry point; {near(str(name), list(RECIPES))}"
        )
    kind = RECIPES[name]
    known = {field.name for field in fields(kind)}
    values = {}
    for field, value in described.get("fields", {}).items():
        if field not in known:
            raise InputError(f"recipe {name} has no field {field!r}: a newer caudal's file?")
        values[field] = _tuples(value)
    return kind(**values)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)  # NumPy's integers are none to JSON
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value
