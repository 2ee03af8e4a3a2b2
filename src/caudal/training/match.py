"""Whether a recipe is that of a flow, so that its model file can be loaded again."""

from typing import TYPE_CHECKING

import torch

from caudal.errors import InputError
from caudal.flow import Flow
from caudal.recipes import Recipe

if TYPE_CHECKING:
    from caudal.data.schema import Schema


def check_recipe_of(flow: Flow, recipe: Recipe, schema: "Schema | None") -> None:
    """Refuses a recipe, or a schema, that makes another flow: training would be for nothing.

    Raises:
        InputError: says where they differ.
    """
    built = {name: tuple(t.shape) for name, t in _build(flow, recipe, schema).state_dict().items()}
    given = {name: tuple(t.shape) for name, t in flow.state_dict().items()}
    for name in sorted(built.keys() | given.keys()):
        if built.get(name) != given.get(name):
            raise InputError(
                f"recipe={recipe.name} is not that of the flow: {name} has shape "
                f"{built.get(name, 'none')} there and {given.get(name, 'none')} here; give the "
                f"recipe, and the schema if any, that the flow was built with"
            )


def _build(flow: Flow, recipe: Recipe, schema: "Schema | None") -> Flow:
    with torch.random.fork_rng([]):  # building draws initial weights
        if schema is not None:
            from caudal.training.assemble import assemble

            return assemble(recipe, schema)
        try:
            return recipe.build(flow.event_shape, flow.context_shape)
        except ValueError as error:
            raise InputError(f"recipe={recipe.name} is not that of the flow: {error}") from None
