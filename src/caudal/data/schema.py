"""What data are: the unit of their scores, their columns, and what every schema promises."""

import math
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np

from caudal.data import dtypes, temporal
from caudal.data.table import dates
from caudal.errors import InputError
from caudal.fields import check_fields

KINDS = (
    "real",
    "positive",
    "interval",
    "circular",
    "latitude",
    "integer",
    "datetime",
    "categorical",
)
MAX_LEVELS = 20_000  # more different values than this are not categories
_SCHEMAS: "dict[str, type[Schema]]" = {}


@dataclass(frozen=True)
class Unit:
    """How a log-probability in nats becomes the score that people read.

    Attributes:
        name: as it is printed, such as "bits/dim".
        key: of the score in eval.json and in tables, such as "bits_per_dim".
        bits: whether the score is a code length in bits, fewer being better, each item divided by
            its elements; otherwise it is the log-probability of an item in nats.
        digits: after the point, in tables on screen and on the page.
    """

    name: str
    key: str
    bits: bool
    digits: int = 3

    @property
    def scale(self) -> float:
        """What a log-probability in nats is multiplied by."""
        return -1 / math.log(2) if self.bits else 1.0


NATS = Unit("nats", "log_prob", bits=False)
BITS_PER_DIM = Unit("bits/dim", "bits_per_dim", bits=True, digits=4)
BITS_PER_SAMPLE = Unit("bits/sample", "bits_per_sample", bits=True)


@dataclass(frozen=True)
class Column:
    """What one column holds.

    With a `step` the values are the lattice points `origin + k * step`, and `low` and `high`,
    where given, are the first and the last of them. Without one, `positive` has the open end
    `low = 0` and `interval` the closed ends `low` and `high`. For a `circular` column `low` and
    `high` are the same point, or, with a step, `high + step` is `low`. Categories are the lattice
    0..K-1. `low`, `high`, `atoms` and `seen` are counted from `offset`, as rows are: in the user's
    numbers an end is `offset + low`.

    Attributes:
        name: the user's name for it.
        kind: one of `KINDS`.
        low: lower end of the support, None where there is none.
        high: upper end of the support, None where there is none.
        step: lattice spacing, None for continuous values.
        categories: the user's values in the order of their codes; None may be one of them.
        missing: whether values may be missing (NaN in the tensor); never so for categories.
        marks: texts that stand for a missing number, such as "unknown", beside the empty cell.
        dtype: the user's arrow type, in which samples are given back.
        offset: what is subtracted from the user's numbers before they become rows in 32 bits.
        atoms: values with a probability of their own in a column that is else continuous,
            ascending; they need not be within the ends, which are those of the other values.
        atom_width: of the place that each atom gets in the line, near the spread of the others.
        unit: for a datetime, the span of time that is 1: see `caudal.data.temporal.UNITS`.
        format: how text is read as a number, and a number written as text: for a datetime such as
            `%d/%m/%Y`, for a number such as `$#,##0.00`; None for plain numbers.
        seen: the lowest and the highest number in training, for a column of the context; None for
            any other column.
        heaps: for a lattice whose values heap up, the shares of the steps of a period, counted
            from `origin`: those of whole numbers and of each decimal, or of the days of a week.
        decimals: for numbers without a step, how many samples are written with, as no value in
            training has more; None for as many as 32 bits hold.
        whole: a unit, such as 1, all of whose multiples are atoms instead: they are more frequent
            than numbers between them; `atom_width` is then of each of their places.
    """

    name: str
    kind: str
    low: float | None = None
    high: float | None = None
    step: float | None = None
    categories: tuple[Any, ...] | None = None
    missing: bool = False
    dtype: str = "double"
    marks: tuple[str, ...] = ()
    offset: float = 0.0
    atoms: tuple[float, ...] = ()
    atom_width: float = 1.0
    unit: str | None = None
    format: str | None = None
    seen: tuple[float, float] | None = None
    heaps: tuple[float, ...] = ()
    decimals: int | None = None
    whole: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"column '{self.name}': unknown kind '{self.kind}', not of {KINDS}")
        if (self.categories is not None) != (self.kind == "categorical"):
            raise InputError(f"column '{self.name}': categories go with the kind categorical")

    @property
    def origin(self) -> float:
        """The lattice point from which the others are counted."""
        return 0.0 if self.low is None else self.low

    @property
    def period(self) -> float | None:
        """Once around the circle, in the column's numbers; None for a column that is none."""
        if self.kind != "circular" or self.low is None or self.high is None:
            return None
        return self.high - self.low + (self.step or 0.0)

    def turned(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers of rows (N,) of a circular column within [low, low + period); NaN stays."""
        if self.period is None:
            return numbers
        within = self.origin + np.mod(numbers - self.origin, self.period)
        return np.where(within >= self.origin + self.period, self.origin, within)

    @property
    def holds_text(self) -> bool:
        """Whether the user's values are strings."""
        return dtypes.is_text(dtypes.value_type(dtypes.parse(self.dtype)))

    @property
    def support(self) -> str:
        """The support in words, such as `(0, inf)`, `[0, 120]` or `7 categories`."""
        if self.categories is not None:
            return f"{len(self.categories)} categories"
        is_open = self.kind == "positive" and self.step is None
        left, right = "(-inf", "inf)"
        if self.low is not None:
            left = f"{'(' if is_open else '['}{self.words(self.low)}"
        if self.period is not None:
            right = f"{self.words(self.origin + self.period)})"
        elif self.high is not None:
            right = f"{self.words(self.high)}]"
        atoms = ", ".join(self.words(atom) for atom in self.atoms)
        if self.whole is not None:
            atoms = "at whole numbers" if self.whole == 1 else f"at multiples of {self.whole:g}"
        return f"{left}, {right}" + (f", atoms {atoms}" if atoms else "")

    def words(self, number: float) -> str:
        """A number of a row as the user reads it."""
        value = number + self.offset
        if self.unit is None:
            return f"{value:.12g}"
        kind = dtypes.parse(self.dtype) if self.format is None else dates.arrow_type(self.format)
        return temporal.words(float(temporal.from_units(np.array(value), self.unit)), kind)

    @classmethod
    def of_categories(cls, name: str, values: tuple[Any, ...], dtype: str) -> "Column":
        """A column of these categories, whose codes are 0..K-1 in this order."""
        return cls(name, "categorical", 0.0, len(values) - 1.0, 1.0, values, dtype=dtype)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Column":
        """The column that `dataclasses.asdict` described, perhaps through JSON.

        Raises:
            InputError: a value is of another type than such columns have.
        """
        lists = {name: tuple(value) for name, value in data.items() if isinstance(value, list)}
        column = cls(**{**data, **lists})
        check_fields(column)
        dtypes.parse(column.dtype)
        if column.unit not in (None, "month", *temporal.UNITS):
            raise InputError(f"column '{column.name}': unknown unit '{column.unit}'")
        return column


class Schema(ABC):
    """What the data of a flow are, as it is kept in the model file.

    A schema turns the user's data into the tensors of a flow (`encode`), and samples back into the
    user's data (`decode`).

    Attributes:
        kind: of data: "table", "images" or "audio".
        one: the word for one item, such as "row".
        many: the word for several of them, such as "rows".
        unit: in which scores are given.
        context: the columns that a flow is conditioned on.
    """

    kind: ClassVar[str]
    one: ClassVar[str]
    many: ClassVar[str]
    unit: ClassVar[Unit]
    context: tuple[Column, ...]

    def __init_subclass__(cls) -> None:
        _SCHEMAS[cls.kind] = cls

    @property
    @abstractmethod
    def what(self) -> str:
        """What a flow models, in words, such as "8x8 gray images"."""

    @property
    @abstractmethod
    def countable(self) -> int | None:
        """Elements of a training row if each takes one of finitely many values, else None.

        Scores in bits an element divide by this number.
        """

    @property
    def levels_of_context(self) -> list[int]:
        """The number of categories of each context column, 0 for a column of numbers."""
        return [len(column.categories or ()) for column in self.context]

    @property
    def gaps_of_context(self) -> list[bool]:
        """Whether each context column is one of numbers that may be missing."""
        return [column.missing for column in self.context]

    @property
    def circles_of_context(self) -> dict[int, tuple[float, float]]:
        """Where each circle of the context begins, and its period, by the index of the column."""
        each = enumerate(self.context)
        return {i: (c.origin, c.period) for i, c in each if c.period is not None}

    @abstractmethod
    def encode(self, data: Any, /) -> Any:
        """The user's data as a flow takes them."""

    @abstractmethod
    def decode(self, x: Any, /) -> Any:
        """Samples of a flow as the user has such data."""

    def to_dict(self) -> dict[str, Any]:
        """Plain data that JSON can hold."""
        return {"kind": self.kind, **_plain(self)}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The schema that `to_dict` described, perhaps through JSON."""
        fields = {name: value for name, value in data.items() if name != "kind"}
        for name in {"columns", "context"} & fields.keys():
            fields[name] = tuple(Column.from_dict(column) for column in fields[name])
        return cls(**fields)


def schema_from_dict(data: dict[str, Any]) -> Schema:
    """The schema of whatever kind that its `to_dict` described; that of a table names no kind."""
    return _SCHEMAS[data.get("kind", "table")].from_dict(data)


def _plain(schema: Any) -> dict[str, Any]:
    """The fields of a dataclass, with lists in place of tuples, as JSON gives them back."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(schema).items()
    }
