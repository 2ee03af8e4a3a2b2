"""Everything a run is made with: its recipe, which data, and how it is trained.

The same names are keywords of `caudal.train`, flags of `caudal train` and keys of config.yaml.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from torch.nn.modules.batchnorm import _BatchNorm

from caudal.bijections import BatchNorm
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.modality import MODALITIES, Modality, modality
from caudal.names import near
from caudal.recipes import RECIPES, Recipe, describe, find_preset, find_recipe, restored
from caudal.recipes.sizes import SIZES, size_of
from caudal.training.options import Training
from caudal.training.processes import as_launched

LENGTHS = ("epochs", "steps", "minutes")
"""Options that say how long training is, of which the usual one gives way to any other."""
USUAL_MINUTES = 5.0
"""What a job may take unless told otherwise."""
AUTO = "auto"
"""The name that stands for the usual recipe of the kind of data."""


@dataclass(frozen=True)
class Settings:
    """What a run is made with.

    Attributes:
        kind: the modality of the data.
        recipe: of the flow.
        data: which data, of the type `kind.options`.
        training: how the flow is trained.
        report: whether the page and its pictures are made at the end.
        given: the names of options that the user chose; the others follow from the data.
        size: of the flow, if the user chose it.
        auto: whether the recipe is the usual one for the data, which nobody chose.
        why: what was decided for the user, a line each.
    """

    kind: Modality
    recipe: Recipe
    data: Any
    training: Training
    report: bool = True
    given: frozenset[str] = frozenset()
    size: str | None = None
    auto: bool = False
    why: tuple[str, ...] = ()

    def config(self) -> dict[str, Any]:
        """What config.yaml holds: the recipe's name, and each option under its own name.

        Data that came as a Python object have no name, and so the config has none of theirs.
        """
        data = {k: v for k, v in plain(self.data).items() if _is_plain(v)}
        options = {**data, **describe(self.recipe)["fields"], **plain(self.training)}
        return {"recipe": self.recipe.name, **options, "report": self.report}


def settings(
    recipe: "str | Recipe | type[Recipe]", kind: Modality, values: Mapping[str, Any]
) -> Settings:
    """The usual settings of a recipe for one kind of data, with `values` in their place.

    Raises:
        InputError: an unknown name, with near ones, or a value that is out of its range.
    """
    start = usual(recipe, kind)
    rest = {k: os.fspath(v) if isinstance(v, os.PathLike) else v for k, v in values.items()}
    report, size = bool(rest.pop("report", start.report)), rest.pop("size", None)
    made, data, training = share_out((start.recipe, start.data, start.training), rest)
    own = vars(recipe) if isinstance(recipe, Recipe) else {}
    return Settings(kind, made, data, training, report, frozenset({*own, *rest}), size)


def share_out(parts: Sequence[Any], values: Mapping[str, Any]) -> list[Any]:
    """The dataclasses with each value in the place of the field of its name.

    Raises:
        InputError: none has a field of that name, or a value is out of its range.
    """
    known = [f.name for part in parts for f in fields(part)]
    for name in values:
        if name not in known:
            raise InputError(f"`{name}`: no such option; {near(name, known)}")
    owned = ({f.name for f in fields(part)} & values.keys() for part in parts)
    pairs = zip(parts, owned, strict=True)
    return [with_values(part, {name: values[name] for name in names}) for part, names in pairs]


def usual(recipe: "str | Recipe | type[Recipe]", kind: Modality) -> Settings:
    """The settings of a recipe for one kind of data unless told otherwise; `data` is empty."""
    if isinstance(recipe, str):
        recipe = find_recipe(recipe)
    made = recipe() if isinstance(recipe, type) else recipe
    training = Training(**{"minutes": USUAL_MINUTES, **kind.training(type(made))})
    return Settings(kind, made, kind.options(data=""), training)


def with_values(part: Any, values: Mapping[str, Any]) -> Any:
    """A dataclass with other values; lists and single values stand for tuples."""
    tuples = {f.name for f in fields(part) if isinstance(getattr(part, f.name), tuple)}
    if isinstance(part, Recipe):  # data may be dicts and lists of their own
        values = {k: restored(v) for k, v in values.items()}
    return replace(part, **{k: _tuple(v) if k in tuples else v for k, v in values.items()})


def by_length(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values whose `epochs`, `steps` or `minutes` replace the usual length of training."""
    return {**of_length(values), **values}


def of_length(values: Mapping[str, Any]) -> dict[str, Any]:
    """The usual lengths of training that give way to those among the values."""
    chosen = {name for name in LENGTHS if values.get(name) is not None}
    return {name: None for name in ("steps", "minutes") if chosen and name not in chosen}


def check_one_size(size: str | None, preset: str | None) -> None:
    """Refuses a size beside a paper's configuration, which has its own.

    Raises:
        InputError: both are given.
    """
    if size is not None and preset is not None:
        raise InputError(f"`size` {size} and `preset` {preset}: choose one of them")


def suited(settings: Settings, dataset: Any) -> Settings:
    """The settings with what nobody chose chosen for the data: the recipe, and its size.

    Raises:
        InputError: the recipe has no such size, or batch normalisation where flows draw while they
            train.
    """
    kind = settings.kind
    if settings.auto:
        settings = _auto(settings, find_recipe(kind.recipe_for(dataset)))
    if kind.draws_in_training:
        settings = _without_batch_norm(settings)
    return _sized(settings, dataset)


def in_pieces(settings: Settings, dataset: Any, flow: Flow) -> Settings:
    """The settings with batches in as many pieces as bound the memory, unless someone chose.

    Batch normalisation takes its moments from a batch, which stays whole.
    """
    is_whole = any(isinstance(part, BatchNorm | _BatchNorm) for part in flow.modules())
    if "accumulate" in settings.given or is_whole:
        return settings
    training = settings.training
    share = training.batch_size // as_launched(training).processes
    pieces = settings.kind.pieces(dataset, share)
    if pieces == training.accumulate:
        return settings
    why = f"batches in {pieces} pieces, which bounds the memory; `accumulate` 1 for whole ones"
    training = replace(training, accumulate=pieces)
    return replace(settings, training=training, why=(*settings.why, why))


def _sized(settings: Settings, dataset: Any) -> Settings:
    """The settings with the size that suits the data, unless someone chose another."""
    kind = settings.kind
    name, minutes = settings.recipe.name, settings.training.minutes
    size = settings.size or (kind.size(dataset, minutes) if name in SIZES else None)
    if size is None:
        return settings
    sized = kind.sized(name, size, dataset)
    free = {k: v for k, v in sized.items() if k not in settings.given}
    if not free:
        return settings
    recipe, training = share_out((settings.recipe, settings.training), free)
    others = ", ".join(s for s in SIZES[name] if s != size)
    general = size_of(name, size)
    own = [f"{k} {v}" for k, v in free.items() if general.get(k) != v]
    with_own = f", with {', '.join(own)} as suits the data" if own else ""
    why = (*settings.why, f"size {size}{with_own}; `size` {others} for another")
    return replace(settings, recipe=recipe, training=training, why=why)


def _auto(settings: Settings, recipe: type[Recipe]) -> Settings:
    """The settings with that recipe, unless it lacks fields that the user set, and why it is that.

    Fields that the user set go along, and what the user left is as the recipe has it.
    """
    made, training, kind = settings.recipe, settings.training, settings.kind
    chosen = [field.name for field in fields(made) if field.name in settings.given]
    lacks = [name for name in chosen if name not in {field.name for field in fields(recipe)}]
    if not (lacks or isinstance(made, recipe)):
        fresh = usual(recipe, kind)
        own = {*kind.training(type(made)), *kind.training(recipe)} - settings.given
        training = replace(training, **{name: getattr(fresh.training, name) for name in own})
        made = with_values(fresh.recipe, {name: getattr(made, name) for name in chosen})
    why = f"{made.name}, the usual recipe for {kind.what}: {made.good_for}"
    if lacks:
        are = "are" if len(lacks) > 1 else "is"
        why = f"{made.name}, as {' and '.join(f'`{name}`' for name in lacks)} {are} given"
    return replace(settings, recipe=made, training=training, why=(*settings.why, why))


def _without_batch_norm(settings: Settings) -> Settings:
    """The settings of a flow that draws while it trains, which batch normalisation cannot."""
    if not getattr(settings.recipe, "batch_norm", False):
        return settings
    if "batch_norm" in settings.given:
        raise InputError(
            "batch normalisation samples in evaluation only, and a density asks for samples in "
            "each step: give `batch_norm=False`"
        )
    recipe: Any = settings.recipe
    return replace(settings, recipe=replace(recipe, batch_norm=False))


def plain(part: Any) -> dict[str, Any]:
    """The fields of a dataclass as YAML holds them."""
    values = {f.name: getattr(part, f.name) for f in fields(part)}
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


def preset_values(recipe: str, name: str | None, kind: Modality) -> dict[str, Any]:
    """All options of a paper's configuration, the recipe's defaults too; none without a name.

    What the paper does not say of training is as for any data, and not as is usual for this kind.

    Raises:
        InputError: there is no such preset, or it is for another kind of data.
    """
    if name is None:
        return {}
    preset = find_preset(recipe, name)
    if not preset.options.keys() <= {f.name for f in fields(kind.options)}:
        foreign = ", ".join(preset.options)
        raise InputError(
            f"`preset` {name} sets {foreign}, which {kind.what} do not have: leave it out"
        )
    kind_of_flow, general = find_recipe(recipe), Training()
    unsaid = {field: getattr(general, field) for field in kind.training(kind_of_flow)}
    return {**plain(kind_of_flow()), **unsaid, "minutes": None, **preset.values}


def kind_of_recipe(recipe: "str | Recipe | type[Recipe]") -> type[Recipe]:
    """The class of a recipe that was given by name, as an instance, or as a class.

    Raises:
        InputError: there is none of that name, or it is none of these.
    """
    if isinstance(recipe, str):
        return find_recipe(recipe)
    kind = recipe if isinstance(recipe, type) else type(recipe)
    if not issubclass(kind, Recipe):
        raise InputError(f"`recipe` {recipe}: give a name such as nsf, or a recipe")
    return kind


def usual_recipe(data: Any, given: Iterable[str] = ()) -> str:
    """The name of the recipe that such data are trained with unless told otherwise.

    It is the first of the kind's usual ones with all fields that were given; `_auto` decides again
    once the data are known.

    Raises:
        InputError: no usual one has them, but other recipes do.
    """
    kinds = [modality(name) for name in MODALITIES]
    looks = [kind for kind in kinds if data is not None and kind.recognises(data)]
    kind = (looks or kinds[-1:])[0]
    taken = [name for name, of in RECIPES.items() if of.listed and kind.takes(of)]
    having = {name: {field.name for field in fields(RECIPES[name])} for name in taken}
    others = {field.name for part in (kind.options, Training) for field in fields(part)}
    own = set(given) & set().union(*having.values()) - others
    names = (kind.usual_recipe, *kind.also_usual)
    if (found := next((name for name in names if own <= having[name]), None)) is not None:
        return found
    odd = [option for option in sorted(own) if option not in having[kind.usual_recipe]]
    able = [name for name in taken if own <= having[name]]
    raise InputError(
        f"{' and '.join(f'`{option}`' for option in odd)}: not of {kind.usual_recipe}, which "
        f"{kind.what} take unless told otherwise; "
        + (f"name one of the recipes with it: {', '.join(able)}" if able else "name a recipe")
    )


def recognise(data: Any, recipe: "type[Recipe]") -> Modality:
    """The kind of data that `data` is, or that the recipe is for where nothing tells.

    Raises:
        InputError: the recipe does not model such data.
    """
    kinds = [modality(name) for name in MODALITIES]
    looks = [] if data is None else [kind for kind in kinds if kind.recognises(data)]
    for kind in looks:
        if kind.takes(recipe):
            return kind
    own = next((kind for kind in reversed(kinds) if kind.takes(recipe)), kinds[-1])
    if looks and not (isinstance(data, str) and data in own.names):
        raise InputError(
            f"{name_of(data)} has {looks[0].what}, which {recipe.name} does not model: "
            f"take {looks[0].trainable}, or give {own.formats}"
        )
    return own


def is_there(data: Any) -> bool:
    """Whether data were given; arrays and tables have no truth value that could be tested."""
    return data is not None and not (isinstance(data, str) and not data)


def stands_for_data(value: Any) -> bool:
    """Whether it is data, in the place of a recipe: an object, a path, or a built-in name."""
    if not isinstance(value, str):
        is_class = isinstance(value, type) and issubclass(value, Recipe)
        return not (is_class or isinstance(value, Recipe))
    if value == AUTO or value in RECIPES:
        return False
    built_in = any(value in modality(name).names for name in MODALITIES)
    return built_in or os.path.exists(value) or any(mark in value for mark in "./*:")


def name_of(data: Any) -> str:
    """What messages call data: the path or name that was given, or what kind of object it is."""
    return os.fspath(data) if isinstance(data, str | os.PathLike) else type(data).__name__


def options_of(of: type, values: Mapping[str, Any], what: str) -> Any:
    """Options of a type from keywords.

    Raises:
        InputError: the type has no option of that name, or not such a value.
    """
    known = [f.name for f in fields(of)]
    for name in values:
        if name not in known:
            hint = near(name, known) if known else "there are none"
            raise InputError(f"`{name}`: no such option for {what}; {hint}")
    return with_values(of(), values)


def _tuple(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(value)
    return (value,) if isinstance(value, int | str) and not isinstance(value, bool) else value


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | list)
