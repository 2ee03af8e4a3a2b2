"""The argument `types`: what the user says a column is, and which values it can then hold."""

import math
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from caudal.data.schema import KINDS, Column
from caudal.data.table import dates
from caudal.data.table.convert import Place, show
from caudal.errors import InputError
from caudal.names import near

_FORM = re.compile(r"(\w+)(?:\[([^,\]]*),([^,\]]*)\])?(?::([^@]+))?(?:@(.+))?")
_PI = re.compile(r"(-?)([\d.]*)pi")
EXAMPLES = (
    "age=integer[0,120], ratio=interval[0,1], grade=real:0.1, amount=positive@0, "
    "hour=circular[0,24], city=categorical"
)
NO_ENDS = "a circle needs both ends, which are one point, such as circular[0,24]"
LATTICE_LIMIT = float(1 << 23)  # steps; float32 cannot tell lattice points beyond it apart


@dataclass(frozen=True)
class Declared:
    """A kind with what came with it, in the user's numbers.

    Attributes:
        kind: one of `KINDS`.
        low, high: the ends, None where there are none.
        step: of a lattice.
        atoms: values with a probability of their own, ascending.
        offset: a point of the lattice, if it is not counted from `low` or 0.
        format: of text, as in `Column`.
        above: the names of columns that it is never below.
    """

    kind: str
    low: float | None = None
    high: float | None = None
    step: float | None = None
    atoms: tuple[float, ...] = ()
    offset: float = 0.0
    format: str | None = None
    above: tuple[str, ...] = ()


def as_word(name: str, kind: str) -> str:
    """What `types` says of a column, as a shell reads it: names with blanks are quoted."""
    return shlex.quote(f"{name}={kind}")


def parse_types(types: Sequence[str], names: Sequence[str]) -> dict[str, Declared]:
    """Reads `name=kind`, `name=kind[low,high]`, `name=kind:step` for columns among `names`.

    Raises:
        InputError: a column or kind is unknown, or the ends or the step make no sense.
    """
    declared: dict[str, Declared] = {}
    for text in types:
        name, equals, form = text.rpartition("=")
        if not equals:
            raise InputError(f"`types` {text}: write name=kind, such as {EXAMPLES}")
        if name not in names:
            raise InputError(f"`types` {text}: no column '{name}' in use; {near(name, names)}")
        if name in declared:
            raise InputError(f"`types` {text}: column '{name}' is declared twice")
        declared[name] = _parse(text, form)
    return declared


def _parse(text: str, form: str) -> Declared:
    kind, _, pattern = form.partition(":")
    if kind.strip() == "datetime":
        if pattern and (wrong := dates.problem(pattern)):
            raise InputError(f"`types` {text}: {wrong}")
        return Declared("datetime", format=pattern or None)
    match = _FORM.fullmatch(form.replace(" ", ""))
    if not match or match[1] not in KINDS:
        kind = match[1] if match else form
        raise InputError(
            f"`types` {text}: unknown kind {show(kind)}; kinds are {', '.join(KINDS)}"
        )
    low, high = _number(text, match[2]), _number(text, match[3])
    parts = match[5].split(",") if match[5] else []
    atoms = sorted({number for part in parts if (number := _number(text, part)) is not None})
    declared = Declared(match[1], low, high, _number(text, match[4]), tuple(atoms))
    problem = problem_of(declared, bracket=match[2] is not None)
    if problem:
        raise InputError(f"`types` {text}: {problem}")
    return complete(declared)


def complete(declared: Declared) -> Declared:
    """The declaration, completed by what its kind implies."""
    if declared.kind == "positive":
        return replace(declared, low=0.0, high=None)
    if declared.kind == "integer":
        return replace(declared, step=declared.step or 1.0)
    if declared.kind == "latitude" and declared.low is declared.high is None:
        return replace(declared, low=-90.0, high=90.0)
    return declared


def _number(text: str, part: str | None) -> float | None:
    if not part:
        return None
    of_pi = _PI.fullmatch(part)  # such as -pi, or 2pi
    try:
        number = float(of_pi[1] + (of_pi[2] or "1")) * math.pi if of_pi else float(part)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"`types` {text}: {show(part)} is not a number")
    return number


def problem_of(d: Declared, bracket: bool) -> str | None:
    """What is wrong with a declaration, or None; in a `bracket` its ends were written."""
    if d.kind == "interval" and (d.low is None or d.high is None):
        return "an interval needs both ends, such as interval[0,1]"
    if d.kind == "circular" and (d.low is None) != (d.high is None):
        return NO_ENDS
    if d.kind == "circular" and d.low is None and d.step is not None:
        return "a circle without ends takes no step: leave it out, or give both ends"
    if d.kind == "datetime" and (d.step, d.low, d.high) != (None, None, None):
        return "a datetime takes no ends and no step: leave them out"
    if d.kind == "latitude" and bracket and (d.low is None or d.high is None):
        return "a latitude needs both poles, such as latitude[-90,90], or neither"
    if bracket and d.kind not in ("interval", "integer", "circular", "latitude"):
        return f"{d.kind} takes no ends, use interval[low,high] or integer[low,high]"
    if d.low is not None and d.high is not None and not d.low < d.high:
        return f"the lower end {d.low:g} must be below the upper end {d.high:g}"
    if d.step is not None and d.kind == "latitude":
        return "a latitude takes no step: leave it out"
    if d.step is not None and (d.kind == "categorical" or not d.step > 0):
        return "a step is a number above 0, for numbers only, such as real:0.1"
    if d.atoms and d.kind in ("circular", "latitude"):
        return f"{d.kind} takes no atoms: leave them out"
    if d.atoms and (d.step or d.kind in ("integer", "categorical")):
        return "only continuous columns have atoms; in steps every value has a probability"
    ends = [end for end in (d.low, d.high, d.step) if end is not None]
    if d.kind == "integer" and any(end != round(end) for end in ends):
        return "the ends and the step of an integer are whole numbers"
    ranged = d.kind in ("interval", "circular") and d.low is not None
    if ranged and d.step and not whole((ends[1] - ends[0]) / d.step):
        what = "interval" if d.kind == "interval" else "circle"
        return f"the {what} is not a whole number of steps of {d.step:g}"
    return None


def whole(count: float) -> bool:
    """Whether it is a whole number, but for rounding."""
    return abs(count - round(count)) < 1e-6


def outside(d: Declared | Column, values: np.ndarray) -> tuple[str, np.ndarray]:
    """Which of a column's limits the values (N,) break, in words, and a mask of those that do.

    Numbers and limits are counted from the same offset. Atoms break none.
    """
    bad = np.zeros(len(values), bool)
    if d.atoms:
        values = np.where(_are_atoms(values, d.atoms), np.nan, values)
    if d.kind == "positive" and d.step is None:
        return "is not above 0", values <= 0
    circle = d.kind == "circular"  # nothing lies beyond its ends
    if d.low is not None and not circle and (bad := values < d.low - 1e-6 * abs(d.low)).any():
        return f"is below {d.low:g}", bad
    if d.high is not None and not circle and (bad := values > d.high + 1e-6 * abs(d.high)).any():
        return f"is above {d.high:g}", bad
    if d.step is not None:
        steps = (values - (d.low or 0.0)) / d.step
        bad = np.abs(steps - np.round(steps)) > 1e-6 * np.maximum(np.abs(steps), 1)
        return f"is no multiple of {d.step:g}", bad
    return "", bad


def _are_atoms(values: np.ndarray, atoms: Sequence[float]) -> np.ndarray:
    """Which values (N,) are atoms, to the precision of rows in 32 bits."""
    return np.isclose(values[:, None], np.array(atoms), rtol=1e-6, atol=0).any(1)


def refuse_outside(columns: Sequence[Column], values: np.ndarray, place: Place) -> None:
    """Refuses numbers (N, D) that their columns cannot hold; missing ones are allowed."""
    for column, numbers in zip(columns, values.T, strict=True):
        if column.categories is not None:
            continue
        problem, bad = outside(column, numbers)
        if column.step is not None and not bad.any():  # all numbers so large are whole ones
            problem = f"is too large for steps of {column.step:g} in 32 bits"
            bad = np.abs(numbers) > column.step * LATTICE_LIMIT
        if bad.any():
            at = int(bad.argmax())
            where, number = place.cell(at, column.name), column.words(numbers[at])
            raise InputError(
                f"{where}: {number} {problem}: the column holds {column.kind} numbers in "
                f"{column.support}"
            )
