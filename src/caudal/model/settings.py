"""Everything a run is made with: its recipe, which data, and how it is trained.

The same names are keywords of `caudal.train`, flags of `caudal train` and keys of config.yaml.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from caudal.errors import InputError
from caudal.modality import Modality
from caudal.names import near
from caudal.recipes import Recipe, describe, find_preset, find_recipe, restored
from caudal.training.options import Training

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
