"""How help shows the values of flags, and how a recipe in a field is read, as rules of tyro."""

from dataclasses import is_dataclass, replace
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from caudal.recipes import Recipe, find_recipe

_NUMBERS = {int: "N", float: "NUMBER"}
_TEXTS = {
    "data": "DATA",
    "valid": "DATA",
    "test": "DATA",
    "out": "PATH",
    "run": "RUN",
    "teacher": "RUN",
    "exact": "RUN",
    "config": "FILE",
    "types_from": "FILE",
    "metadata": "FILE",
    "context_file": "FILE",
    "mel_of": "FILE",
    "columns": "COLUMN",
    "target": "COLUMN",
    "context": "FILE",
    "exclude": "COLUMN",
    "types": "COLUMN=KIND",
    "given": "NAME=VALUE",
    "labels": "PATTERN",
    "split_by": "LABEL",
    "student": "RECIPE",
    "preset": "NAME",
    "device": "DEVICE",
    "encoding": "ENCODING",
    "delimiter": "CHARACTER",
}
"""What texts are called, by the names of their fields; any other one is TEXT."""
_LISTED = {"context": "NAME"}
"""What texts of a list are called, where a single one is called otherwise."""


def registry() -> Any:
    """The rules by which tyro reads and shows the fields of options."""
    from tyro import conf, constructors

    rules = constructors.ConstructorRegistry()
    under_way: set[Any] = set()

    @rules.primitive_rule
    def recipes_by_name(info: Any) -> Any:
        if info.type is not Recipe:
            return None
        return constructors.PrimitiveConstructorSpec(
            nargs=1,
            metavar="RECIPE",
            instance_from_str=lambda words: find_recipe(words[0])(),
            is_instance=lambda value: isinstance(value, Recipe),
            str_from_instance=lambda recipe: [recipe.name],
        )

    @rules.struct_rule
    def with_metavars(info: Any) -> Any:
        kind = get_origin(info.type) or info.type
        if not is_dataclass(kind) or kind in under_way:
            return None  # tyro's own rule comes next
        under_way.add(kind)
        try:
            spec = constructors.ConstructorRegistry.get_struct_spec(info)
        finally:
            under_way.discard(kind)
        if not isinstance(spec, constructors.StructConstructorSpec):
            return spec
        return replace(spec, fields=tuple(map(shown, spec.fields)))

    def shown(field: Any) -> Any:
        metavar = metavar_of(field.name, field.type)
        if metavar is None:
            return field
        return replace(field, type=Annotated[field.type, conf.arg(metavar=metavar)])

    return rules


def metavar_of(name: str, hint: Any) -> str | None:
    """The word for the value of a field; None if it has choices, which are listed, or no value."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, UnionType):
        rest = [each for each in get_args(hint) if each is not NoneType]
        return metavar_of(name, rest[0]) if len(rest) == 1 else None
    if get_origin(hint) is tuple:
        parts = get_args(hint)
        if parts[-1] is Ellipsis:
            word = _LISTED.get(name) or metavar_of(name, parts[0])
            return word and f"{word} ..."
        words = [metavar_of(name, part) for part in parts]
        return " ".join(filter(None, words)) or None
    return _TEXTS.get(name, "TEXT") if hint is str else _NUMBERS.get(hint)
