"""Rules of dataclass fields that stand at the field: `layers: Annotated[int, Ge(1)] = 10`."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, fields
from functools import cache
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from annotated_types import Ge, GroupedMetadata, Gt, Le, Lt, MaxLen, MinLen, MultipleOf

from caudal.errors import InputError


class Rule(NamedTuple):
    """Whether a value is allowed, and the words for what is expected."""

    holds: Callable[[Any], bool]
    expected: str


def check_fields(instance: Any, skip: Collection[str] = ()) -> None:
    """Checks each field of a dataclass, except those to skip, against its annotation.

    Understood are int, float (finite, or an int), bool, str, Literal, None, unions and tuples of
    these, and the limits of `annotated_types` in Annotated: Ge, Gt, Le, Lt, Interval, MultipleOf,
    MinLen, MaxLen, Len. Fields of other types are left alone.

    Raises:
        InputError: names the field, its value and what is expected.
    """
    kind: Any = type(instance)
    rules = rules_of(kind)
    for field in fields(instance):
        if field.name in skip:
            continue
        value, rule = getattr(instance, field.name), rules[field.name]
        if not rule.holds(value):
            example = _example(field.default, value)
            raise InputError(f"`{field.name}` {shown(value)}: must be {rule.expected}{example}")


def check_value(name: str, value: Any, hint: Any) -> None:
    """Checks one argument against a type hint, as `check_fields` does fields.

    Raises:
        InputError: names the argument, its value and what is expected.
    """
    rule = rule_of(hint)
    if not rule.holds(value):
        text = repr(value) if isinstance(value, str) else shown(value)
        raise InputError(f"`{name}` {text}: must be {rule.expected}")


def shown(value: Any) -> str:
    """A value of any kind in a message: on one line, and not long."""
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:79]}…"


@cache
def rules_of(kind: type) -> Mapping[str, Rule]:
    """The rule of each field of a dataclass."""
    hints = get_type_hints(kind, include_extras=True)
    return {field.name: rule_of(hints[field.name]) for field in fields(kind)}


def _example(default: Any, value: Any) -> str:
    """The default as an example, where one number was given for a tuple, or the reverse."""
    if default in (MISSING, None) or isinstance(default, tuple) == isinstance(value, tuple):
        return ""
    return f", such as {default}" if default != () else ", in a tuple"


def rule_of(hint: Any, many: bool = False) -> Rule:
    """The rule of a type hint; with `many`, its words are in the plural."""
    hint, limits = _unwrap(hint)
    origin, parts = get_origin(hint), get_args(hint)
    if origin is Literal:
        return Rule(lambda value: value in parts, f"one of {', '.join(map(str, parts))}")
    if origin in (Union, UnionType):
        return _limited(_union(parts, many), limits)
    if origin is tuple:
        return _limited(_tuple(parts, limits), limits)
    if hint not in _KINDS:
        return Rule(lambda value: True, "anything")
    kind = _KINDS[hint]
    words = kind.expected if hint in (bool, NoneType) else _words(kind.expected, limits, many)
    return _limited(Rule(kind.holds, words), limits)


def _unwrap(hint: Any) -> tuple[Any, list[Any]]:
    """The type within Annotated, and its limits; other metadata are of other programs."""
    if get_origin(hint) is not Annotated:
        return hint, []
    hint, *metadata = get_args(hint)
    flat: list[Any] = []
    for item in metadata:
        flat += item if isinstance(item, GroupedMetadata) else [item]
    return hint, [limit for limit in flat if type(limit) in _LIMITS]


def _limited(rule: Rule, limits: Sequence[Any]) -> Rule:
    def holds(value: Any) -> bool:
        return rule.holds(value) and all(_LIMITS[type(one)](value, one) for one in limits)

    return Rule(holds, rule.expected)


def _union(parts: Sequence[Any], many: bool) -> Rule:
    rules = [rule_of(part, many) for part in parts]
    words = ", or ".join(rule.expected for rule in rules)
    return Rule(lambda value: any(rule.holds(value) for rule in rules), words)


def _tuple(parts: Sequence[Any], limits: Sequence[Any]) -> Rule:
    """A tuple of any length, `tuple[int, ...]`, or with a type for each place."""
    rules = [rule_of(part, many=True) for part in parts if part is not Ellipsis]
    if parts[-1:] == (Ellipsis,):
        return Rule(
            lambda value: isinstance(value, tuple) and all(map(rules[0].holds, value)),
            f"{_count(limits)}{rules[0].expected}",
        )
    kinds = dict.fromkeys(rule.expected for rule in rules)
    return Rule(
        lambda value: (
            isinstance(value, tuple)
            and len(value) == len(rules)
            and all(rule.holds(item) for rule, item in zip(rules, value, strict=True))
        ),
        f"{len(rules)} {' and '.join(kinds)}",
    )


def _count(limits: Sequence[Any]) -> str:
    """How many elements a tuple has, in words before a noun; empty for any number."""
    least = max((one.min_length for one in limits if isinstance(one, MinLen)), default=0)
    most = min((one.max_length for one in limits if isinstance(one, MaxLen)), default=None)
    if most is None:
        return f"{least} or more " if least else ""
    if least == most:
        return f"{most} "
    return f"{least} to {most} " if least else f"at most {most} "


def _words(noun: str, limits: Sequence[Any], many: bool) -> str:
    """A noun with its limits, such as "a whole number, at least 1", or "numbers in [0, 1)"."""
    sign = {(Gt(0),): "positive ", (Lt(0),): "negative "}.get(tuple(limits), "")
    words = f"{sign}{noun}s" if many else f"a {sign}{noun}"
    if sign:
        return words
    low = next((one for one in limits if isinstance(one, Ge | Gt)), None)
    high = next((one for one in limits if isinstance(one, Le | Lt)), None)
    if low is not None and high is not None:
        return f"{words} {_interval(low, high)}"
    each = " each" if many else ""
    return words + "".join(f", {_phrase(one)}{each}" for one in limits)


def _interval(low: Ge | Gt, high: Le | Lt) -> str:
    start = low.ge if isinstance(low, Ge) else low.gt
    end = high.le if isinstance(high, Le) else high.lt
    if isinstance(low, Ge) and isinstance(high, Le):
        return f"from {start} to {end}"
    if isinstance(low, Gt) and isinstance(high, Lt):
        return f"between {start} and {end}"
    left, right = "[" if isinstance(low, Ge) else "(", "]" if isinstance(high, Le) else ")"
    return f"in {left}{start}, {end}{right}"


def _phrase(limit: Any) -> str:
    phrase, name = _PHRASES[type(limit)]
    return f"{phrase} {getattr(limit, name)}"


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


_KINDS = {
    int: Rule(_is_whole, "whole number"),
    float: Rule(_is_finite, "number"),
    str: Rule(lambda value: isinstance(value, str), "string"),
    bool: Rule(lambda value: isinstance(value, bool), "True or False"),
    NoneType: Rule(lambda value: value is None, "`None`"),
}
_LIMITS: Mapping[type, Callable[[Any, Any], bool]] = {
    Ge: lambda value, limit: value >= limit.ge,
    Gt: lambda value, limit: value > limit.gt,
    Le: lambda value, limit: value <= limit.le,
    Lt: lambda value, limit: value < limit.lt,
    MultipleOf: lambda value, limit: value % limit.multiple_of == 0,
    MinLen: lambda value, limit: len(value) >= limit.min_length,
    MaxLen: lambda value, limit: len(value) <= limit.max_length,
}
_PHRASES: Mapping[type, tuple[str, str]] = {
    Ge: ("at least", "ge"),
    Gt: ("above", "gt"),
    Le: ("at most", "le"),
    Lt: ("below", "lt"),
    MultipleOf: ("a multiple of", "multiple_of"),
    MinLen: ("with a length of at least", "min_length"),
    MaxLen: ("with a length of at most", "max_length"),
}
