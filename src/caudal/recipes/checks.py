"""What the fields of a recipe may hold: one rule a name, the same in every recipe."""

import math
from collections.abc import Callable
from dataclasses import Field, fields
from typing import Any, Literal, NamedTuple, get_args, get_origin

from caudal.errors import InputError
from caudal.nets.activation import ACTIVATIONS


class Rule(NamedTuple):
    """Whether a value will do, and what to say if not."""

    holds: Callable[[Any], bool]
    expected: str


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _at_least(least: int) -> Rule:
    expected = f"a whole number, at least {least}"
    return Rule(lambda value: _whole(value) and value >= least, expected)


def _widths(value: Any) -> bool:
    """One width, or a tuple of them."""
    several = value if isinstance(value, tuple) else (value,)
    return len(several) > 0 and all(_whole(width) and width >= 1 for width in several)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _one_of(*names: str) -> Rule:
    return Rule(lambda value: value in names, f"one of {', '.join(names)}")


_TRUTH = Rule(lambda value: isinstance(value, bool), "true or false")

RULES = {
    "layers": _at_least(0),  # maf-mog without is a MADE MoG
    "blocks": _at_least(1),
    "bins": _at_least(2),
    "components": _at_least(1),
    "hidden": Rule(_widths, "units, at least 1 each"),
    "activation": _one_of(*ACTIVATIONS),
    "bound": Rule(lambda value: _number(value) and value > 0, "a positive number"),
    "dropout": Rule(lambda value: _number(value) and 0 <= value < 1, "a number in [0, 1)"),
    "batch_norm": _TRUTH,
    "direct": _TRUTH,
    "whiten": _TRUTH,
    "factor_out": _TRUTH,
    "scales": Rule(lambda v: v is None or (_whole(v) and v >= 1), "a whole number, at least 1"),
    "maps": _at_least(1),
    "coefficient": Rule(lambda v: _number(v) and 0 < v < 1, "a number between 0 and 1"),
    "terms": _at_least(1),
    "evaluation_terms": _at_least(1),
    "dense": _at_least(0),
    "squeeze_first": _TRUTH,
    "channels": _at_least(1),
    "cycle": Rule(lambda v: _whole(v) and 1 <= v <= 16, "a whole number from 1 to 16"),
    "kernel": _at_least(2),
    "floor": Rule(lambda value: _number(value) and value < 0, "a negative number"),
    "hop": _at_least(1),
    "flows": Rule(_widths, "dilated layers, at least 1 each"),
    "latents": Rule(lambda v: v is None or (_whole(v) and v >= 1), "a whole number, at least 1"),
}


def rule_of(field: Field[Any]) -> Rule:
    """A field that takes one of a few names says so by its type."""
    names = get_args(field.type) if get_origin(field.type) is Literal else ()
    return _one_of(*names) if names else RULES[field.name]


def check_fields(recipe: Any) -> None:
    """Refuses values that no flow can be built from.

    Raises:
        InputError: names the flag, the value and what is expected.
    """
    for field in fields(recipe):
        value, rule = getattr(recipe, field.name), rule_of(field)
        tuples = isinstance(field.default, tuple) == isinstance(value, tuple)
        if not (rule.holds(value) and tuples):
            example = "" if tuples else f", such as {field.default}"
            flag = field.name.replace("_", "-")
            raise InputError(f"--{flag} {value}: must be {rule.expected}{example}")
