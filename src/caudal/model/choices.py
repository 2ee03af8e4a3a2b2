"""What nobody chose, chosen for the data: kind, recipe, size, and pieces of batches."""

import os
from collections.abc import Iterable
from dataclasses import fields, replace
from typing import Any

from torch.nn.modules.batchnorm import _BatchNorm

from caudal.bijections import BatchNorm
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.modality import MODALITIES, Modality, modality
from caudal.model.settings import AUTO, Settings, name_of, share_out, usual, with_values
from caudal.recipes import RECIPES, Recipe, find_recipe
from caudal.recipes.sizes import size_of, sizes_of
from caudal.training.options import Training
from caudal.training.processes import as_launched


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


def _sized(settings: Settings, dataset: Any) -> Settings:
    """The settings with the size that suits the data, unless someone chose another."""
    kind = settings.kind
    name, minutes = settings.recipe.name, settings.training.minutes
    sizes = sizes_of(name, kind.name)
    size = settings.size or (kind.size(dataset, minutes) if sizes else None)
    if size is None:
        return settings
    sized = kind.sized(name, size, dataset)
    asked = "batch_norm" in settings.given and getattr(settings.recipe, "batch_norm", False)
    chosen = settings.given | ({"norm"} if asked else set())  # batch normalisation is a norm
    own = sized.get("optimizer")
    if "optimizer" in chosen and own not in (None, settings.training.optimizer):
        chosen |= {"lr"}  # the size's rate is that of its own optimiser
    free = {k: v for k, v in sized.items() if k not in chosen}
    if not free:
        return settings
    recipe, training = share_out((settings.recipe, settings.training), free)
    others = ", ".join(s for s in sizes if s != size)
    general = size_of(name, size, kind.name)
    other = [f"{k} {v}" for k, v in free.items() if general.get(k) != v]
    with_other = f", with {', '.join(other)} as suits the data" if other else ""
    why = (*settings.why, f"size {size}{with_other}; `size` {others} for another")
    return replace(settings, recipe=recipe, training=training, why=why)


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
