"""The modalities by name, and the flow that one of them dresses."""

from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from caudal.errors import InputError
from caudal.flow import Origin
from caudal.modality.protocol import Modality

if TYPE_CHECKING:
    from caudal.data import Schema
    from caudal.flow import Flow
    from caudal.recipes import Recipe

MODALITIES: dict[str, str] = {
    "tensors": "caudal.modalities.tensors:Tensors",
    "density": "caudal.modalities.density:Density",
    "audio": "caudal.modalities.audio:Audio",
    "images": "caudal.modalities.images:Images",
    "table": "caudal.modalities.table:Table",
}
"""The modalities by name, in the order in which they are asked whether they recognise data."""


@cache
def modality(name: str) -> Modality:
    """The modality of that name; its module is imported when it is first asked for."""
    module, _, kind = MODALITIES[name].partition(":")
    instance: Modality = getattr(import_module(module), kind)()
    return instance


def opening(options: Any) -> dict[str, Any]:
    """The options of a kind of data as keywords of the function that opens such data."""
    keywords = dict(vars(options))
    keywords["seed"] = keywords.pop("split_seed")
    return keywords


def modality_of(schema: "Schema") -> Modality:
    """The modality of a schema."""
    return modality(schema.kind)


def assemble(recipe: "Recipe", schema: "Schema") -> "Flow":
    """The recipe's flow, dressed for the data of a schema: `log_prob` is in the user's units.

    Raises:
        InputError: the recipe does not model such data, or its fields make no flow.
    """
    try:
        flow = modality_of(schema).dress(recipe, schema)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"recipe {recipe.name}: {error}") from None
    flow.origin = Origin(recipe, schema)
    return flow
