"""Recipes by name, built in and registered, and as plain data for a file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, fields
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, TypeVar, overload

from caudal.errors import InputError, one_line
from caudal.names import near
from caudal.recipes.function import recipe_of
from caudal.recipes.recipe import Recipe

if TYPE_CHECKING:
    from importlib.metadata import EntryPoints

    import caudal

GROUP = "caudal.recipes"
"""Group of the entry points with which an installed package offers recipes."""
REGISTERED: dict[str, type[Recipe]] = {}
_OPTIONS = """
accelerator accumulate alpha batch_size bits clip columns comment compile config context
contrastive corrupt cosine crop data decimal delimiter dequantization devices draws drop_context
ema encoding epochs exclude flips forward from_best guide json kl labels log lr mel_convention
mel_floor mel_high mel_log mel_low mel_scale mels metadata minutes missing moves na normalize
num_nodes optimizer out overwrite particles path patience pixel_noise pixels pool precision
prediction preset rate recipe recompute regularization report resize resume reverse scale seconds
seed size spectral split split_by split_seed steps strategy strict student tail target teacher
test trim types types_from update valid validate_every validate_rows voice warmup weight_decay
weights window
"""
TAKEN = frozenset(_OPTIONS.split())
"""Names of options of training, of data and of distillation: they stand beside a recipe's fields
as flags, keywords and keys of config.yaml, so that a recipe may not have them."""
SCORES, SAMPLES = ("parallel", "sequential"), ("parallel", "sequential", "iterated")

Kind = TypeVar("Kind", bound=type[Recipe])


@overload
def register(kind: Kind) -> Kind: ...
@overload
def register(kind: Callable[..., caudal.Flow]) -> type[Recipe]: ...
def register(kind: Any) -> Any:
    """Decorator that makes a recipe known by its name, like those built in.

    It stands above a dataclass, or above a function that builds a flow of any parts. It turns the
    function into a recipe whose fields are the keyword arguments:

        @caudal.recipe
        @dataclass(frozen=True)
        class MyFlow(caudal.recipes.Recipe):
            name, scores, samples = "my-flow", "parallel", "sequential"
            layers: Annotated[int, Ge(1)] = 5

        @caudal.recipe
        def rings(event_shape, context_shape=None, *, width: int = 32) -> caudal.Flow: ...

    Values of fields are plain: numbers, text, True or False, None, other recipes, and tuples of
    these. A model file names the recipe and holds its fields. A class or function may be defined
    again, as when a notebook's cell runs twice.

    Raises:
        InputError: another recipe has that name, or the class is not a complete recipe.
    """
    if inspect.isfunction(kind):
        kind = recipe_of(kind)
    _check(kind)
    other = REGISTERED.get(kind.name, kind)
    if _path(other) != _path(kind):
        raise InputError(
            f"recipe '{kind.name}' of {_path(kind)}: {_path(other)} has that name already; "
            f"choose another one"
        )
    REGISTERED[kind.name] = kind
    return kind


class Recipes(Mapping[str, type[Recipe]]):
    """Read-only: every recipe by its name; those of entry points are imported when asked for.

    Raises:
        InputError: the recipe of an entry point cannot be loaded.
    """

    def __getitem__(self, name: str) -> type[Recipe]:
        if name not in REGISTERED:
            REGISTERED[name] = _load(name, _offered().select(name=name))
        return REGISTERED[name]

    def __contains__(self, name: object) -> bool:
        return name in REGISTERED or name in _offered().names

    def __iter__(self) -> Iterator[str]:
        listed = (name for name, kind in REGISTERED.items() if kind.listed)
        return iter(dict.fromkeys((*listed, *sorted(_offered().names))))

    def __len__(self) -> int:
        return sum(1 for _ in self)


RECIPES = Recipes()
"""Every recipe, by its name on the command line."""


def find_recipe(name: str) -> type[Recipe]:
    """The recipe of that name.

    Raises:
        InputError: there is none, with near names; or that of an entry point cannot be loaded.
    """
    if not isinstance(name, str) or name not in RECIPES or not RECIPES[name].listed:
        raise InputError(f"no recipe '{name}'; {near(str(name), list(RECIPES))}")
    return RECIPES[name]


def _check(kind: type[Recipe]) -> None:
    """Refuses a class that is not a complete recipe."""
    if not (isinstance(kind, type) and issubclass(kind, Recipe)):
        raise InputError(f"{kind!r} is not a recipe: derive it from caudal.recipes.Recipe")
    start = f"recipe {_path(kind)}"
    if "__dataclass_params__" not in vars(kind):
        raise InputError(f"{start}: write @dataclass(frozen=True) below @caudal.recipe")
    if inspect.isabstract(kind):
        raise InputError(f"{start}: define {', '.join(sorted(kind.__abstractmethods__))}")
    if not isinstance(getattr(kind, "name", None), str):
        raise InputError(f"{start}: give the class a name, as name = 'my-flow'")
    for attribute, ways in (("scores", SCORES), ("samples", SAMPLES)):
        if getattr(kind, attribute, None) not in ways:
            raise InputError(
                f"{start}: its attribute {attribute} must be one of {', '.join(ways)}"
            )
    for field in fields(kind):
        if field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{start}: its field {field.name} needs a default")
        if field.name in TAKEN:
            raise InputError(
                f"{start}: its field {field.name} has the name of an option of training, data or "
                f"distillation; choose another one"
            )


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _offered() -> EntryPoints:
    from importlib.metadata import entry_points

    return entry_points(group=GROUP)


def _load(name: str, entries: EntryPoints) -> type[Recipe]:
    """The recipe that an entry point names."""
    if not entries:
        raise KeyError(name)
    places = sorted({entry.dist.name if entry.dist else entry.value for entry in entries})
    if len(places) > 1:
        raise InputError(f"recipe '{name}' is offered by {' and '.join(places)}: uninstall one")
    try:
        kind: type[Recipe] = next(iter(entries)).load()
        _check(kind)
        if kind.name != name:
            raise ValueError(f"its name is '{kind.name}'")
    except Exception as error:  # whatever can go wrong while a module is imported
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise InputError(f"recipe '{name}' of {places[0]} cannot be loaded: {reason}") from error
    return kind


def describe(recipe: Recipe) -> dict[str, Any]:
    """The name and the fields of a recipe, as JSON can hold them.

    Raises:
        InputError: a field has a value that is not plain.
    """
    values = {f.name: getattr(recipe, f.name) for f in fields(recipe)}
    described = {name: _plain(value, f"{recipe.name}.{name}") for name, value in values.items()}
    return {"name": recipe.name, "fields": described}


def sources_of(recipe: Recipe) -> dict[str, str]:
    """The modules that define a recipe, and those in its fields, by name; caudal's own aside."""
    modules = {} if _is_ours(type(recipe)) else {recipe.name: type(recipe).__module__}
    waiting: list[Any] = [getattr(recipe, f.name) for f in fields(recipe)]
    for value in waiting:  # it grows
        if isinstance(value, tuple):
            waiting += value
        elif isinstance(value, Recipe):
            modules |= sources_of(value)
    return modules


def rebuild(described: Any, sources: Mapping[str, str] | None = None) -> Recipe:
    """The recipe that `describe` described, perhaps through JSON.

    No module is imported for it but those of installed packages that offer recipes. `sources`
    says of which module each recipe was, for the message where one is missing.

    Raises:
        InputError: an unknown recipe or field, or a value of the wrong type.
    """
    name = described.get("name") if isinstance(described, dict) else described
    if not (isinstance(described, dict) and isinstance(name, str) and name in RECIPES):
        raise InputError(f"unknown recipe {name!r}: {_way_to(str(name), sources or {})}")
    kind = RECIPES[name]
    known = {field.name for field in fields(kind)}
    values = {}
    for field, value in described.get("fields", {}).items():
        if field not in known:
            raise InputError(f"recipe {name} has no field {field!r}: a newer caudal's file?")
        values[field] = restored(value, sources)
    return kind(**values)


def _way_to(name: str, sources: Mapping[str, str]) -> str:
    """What to do where a recipe is not there."""
    source = sources.get(name)
    if source == "__main__":
        return "a script or notebook has defined it: run its definition first"
    if source is not None:
        return f"import {source}, which defines it, or install the package that offers it"
    return (
        f"import the module that defines and registers it, or install a package with its entry "
        f"point; {near(name, list(RECIPES))}"
    )


def _is_ours(kind: type) -> bool:
    return kind.__module__.startswith("caudal.")


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, Recipe):
        return describe(value)
    if isinstance(value, tuple):
        return [_plain(item, where) for item in value]
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)  # NumPy's integers are none to JSON
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, Real):
        return float(value)
    raise InputError(
        f"`{where}` holds a {type(value).__name__}, which a model file cannot name: give numbers, "
        f"text, recipes, or tuples of them, and build the rest from them"
    )


def restored(value: Any, sources: Mapping[str, str] | None = None) -> Any:
    """A value of a field from what JSON or YAML holds: lists are tuples, mappings recipes.

    Raises:
        InputError: as `rebuild`.
    """
    if isinstance(value, list):
        return tuple(restored(item, sources) for item in value)
    return rebuild(value, sources) if isinstance(value, dict) else value
