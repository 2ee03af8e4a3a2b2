"""Rules that stand at a field, and their words."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pytest
from annotated_types import Ge, Gt, Interval, Le, Len, Lt, MaxLen, MinLen, MultipleOf

from caudal.errors import InputError
from caudal.fields import check_fields, rule_of

COUNT = Annotated[int, Ge(1)]
WORDS = [
    (int, "a whole number", (0, -3, np.int64(2)), (1.0, True, "1", None)),
    (float, "a number", (0.5, 1, np.float32(2)), (float("inf"), float("nan"), True, "1")),
    (bool, "True or False", (True, False), (0, 1, None)),
    (str, "a string", ("", "a"), (1, None)),
    (Literal["a", 2], "one of a, 2", ("a", 2), ("b", None)),
    (int | None, "a whole number, or `None`", (1, None), (0.5, "x")),
    (COUNT | None, "a whole number, at least 1, or `None`", (1, None), (0,)),
    (int | str, "a whole number, or a string", (1, "a"), (None, 0.5)),
    (COUNT, "a whole number, at least 1", (1,), (0, 1.5)),
    (Annotated[float, Gt(0)], "a positive number", (0.1,), (0, -1)),
    (Annotated[float, Lt(0)], "a negative number", (-1,), (0,)),
    (Annotated[float, Gt(1)], "a number, above 1", (2,), (1,)),
    (Annotated[float, Le(2)], "a number, at most 2", (2,), (3,)),
    (Annotated[float, Ge(0), Lt(1)], "a number in [0, 1)", (0,), (1, -0.1)),
    (Annotated[float, Gt(0), Le(1)], "a number in (0, 1]", (1,), (0,)),
    (Annotated[float, Gt(0), Lt(1)], "a number between 0 and 1", (0.5,), (0, 1)),
    (Annotated[int, Interval(ge=1, le=8)], "a whole number from 1 to 8", (1, 8), (0, 9)),
    (Annotated[int, MultipleOf(2)], "a whole number, a multiple of 2", (4,), (3,)),
    (Annotated[str, MinLen(1)], "a string, with a length of at least 1", ("a",), ("",)),
    (tuple[str, ...], "strings", ((), ("a",)), ("a", ["a"], (1,))),
    (tuple[COUNT, ...], "whole numbers, at least 1 each", ((), (1,)), ((0,), 1)),
    (Annotated[tuple[int, ...], MinLen(1)], "1 or more whole numbers", ((1,),), ((), 1)),
    (Annotated[tuple[int, ...], MaxLen(2)], "at most 2 whole numbers", ((),), ((1, 2, 3),)),
    (Annotated[tuple[int, ...], Len(1, 2)], "1 to 2 whole numbers", ((1,),), ((), (1, 2, 3))),
    (tuple[float, float, float], "3 numbers", ((1, 2, 0.5),), ((1, 2), 3, (1, 2, "x"))),
    (Annotated[int, "of another program"], "a whole number", (1,), (None,)),
    (Any, "anything", (1, None, object()), ()),
    (list[int], "anything", (1, [2]), ()),
]


@pytest.mark.parametrize(("hint", "expected", "right", "wrong"), WORDS)
def test_rules_and_their_words(hint, expected, right, wrong):
    rule = rule_of(hint)
    assert rule.expected == expected
    assert [rule.holds(value) for value in right] == [True] * len(right)
    assert [rule.holds(value) for value in wrong] == [False] * len(wrong)


@dataclass
class Options:
    """For tests only."""

    rows: COUNT = 3
    shares: tuple[float, float] = (0.5, 0.5)
    name: str | None = None

    def __post_init__(self):
        check_fields(self)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rows": 0}, "`rows` 0: must be a whole number, at least 1"),
        ({"rows": (1, 2)}, "`rows` (1, 2): must be a whole number, at least 1, such as 3"),
        ({"shares": 1}, "`shares` 1: must be 2 numbers, such as (0.5, 0.5)"),
        ({"name": 5}, "`name` 5: must be a string, or `None`"),
        ({"name": [1] * 99}, f"`name` [{'1, ' * 26}…: must be a string, or `None`"),
    ],
)
def test_a_field_is_named_with_its_value_and_what_is_expected(values, message):
    with pytest.raises(InputError) as caught:
        Options(**values)
    assert str(caught.value) == message
