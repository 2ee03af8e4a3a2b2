"""A recipe from a function that builds a flow: its keyword arguments become the fields."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import field, make_dataclass
from typing import TYPE_CHECKING, Any, get_type_hints

from caudal.errors import InputError
from caudal.recipes.recipe import Recipe

if TYPE_CHECKING:
    import caudal

_SHAPES = ("event_shape", "context_shape")


def recipe_of(build: Callable[..., caudal.Flow]) -> type[Recipe]:
    """The recipe whose `build` calls a function, and whose name is the function's, with dashes.

    The function is one such as `def rings(event_shape, context_shape=None, *, width: int = 32)`.
    It is taken to score and to sample in one pass; a class can say otherwise.

    Raises:
        InputError: the function does not take an event and a context shape, or a further argument
            has no annotation.
    """
    names = list(inspect.signature(build).parameters)
    start = f"recipe {build.__module__}.{build.__qualname__}"
    if tuple(names[:2]) != _SHAPES:
        raise InputError(f"{start}: its first arguments must be event_shape, context_shape=None")
    options = list(inspect.signature(build).parameters.values())[2:]
    hints = get_type_hints(build, include_extras=True)
    for option in options:
        if option.kind is not option.KEYWORD_ONLY:
            raise InputError(f"{start}: write * before its argument {option.name}")
        if option.name not in hints:
            raise InputError(f"{start}: its argument {option.name} needs a type")

    def _build(
        self: Recipe, event_shape: Sequence[int], context_shape: Sequence[int] | None = None
    ) -> caudal.Flow:
        from caudal.flow import Flow

        flow = build(event_shape, context_shape, **vars(self))
        if not isinstance(flow, Flow):
            raise InputError(f"{start}: returns a {type(flow).__name__}, and must return a Flow")
        return flow

    fields: list[Any] = [(o.name, hints[o.name], _default(o)) for o in options]
    about = {
        "name": build.__name__.replace("_", "-"),
        "scores": "parallel",
        "samples": "parallel",
        "_build": _build,
        "__doc__": build.__doc__,
        "__qualname__": build.__qualname__,
    }
    kind = make_dataclass(build.__name__, fields, bases=(Recipe,), namespace=about, frozen=True)
    kind.__module__ = build.__module__  # which newer Pythons make that of the caller
    return kind


def _default(option: inspect.Parameter) -> Any:
    return field() if option.default is option.empty else field(default=option.default)
