"""One column of a table, or one label of files: its kind, support, lattice and the user's type."""

from dataclasses import dataclass
from typing import Any

from caudal.data import dtypes
from caudal.errors import InputError

KINDS = ("real", "positive", "interval", "integer", "categorical")
MAX_LEVELS = 1000  # more different values than this are not categories


@dataclass(frozen=True)
class Column:
    """What one column holds.

    With a `step` the values are the lattice points `origin + k * step`, and `low` and `high`,
    where given, are the first and the last of them. Without one, `positive` has the open end
    `low = 0` and `interval` the closed ends `low` and `high`. Categories are the lattice 0..K-1.

    Attributes:
        name: the user's name for it.
        kind: one of `KINDS`.
        low: lower end of the support, None where there is none.
        high: upper end of the support, None where there is none.
        step: lattice spacing, None for continuous values.
        categories: the user's values in the order of their codes; None may be one of them.
        missing: whether values may be missing (NaN in the tensor); never so for categories.
        dtype: the user's arrow type, in which samples are given back.
    """

    name: str
    kind: str
    low: float | None = None
    high: float | None = None
    step: float | None = None
    categories: tuple[Any, ...] | None = None
    missing: bool = False
    dtype: str = "double"

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
    def holds_text(self) -> bool:
        """Whether the user's values are strings."""
        return dtypes.is_text(dtypes.value_type(dtypes.parse(self.dtype)))

    @property
    def support(self) -> str:
        """The support in words, such as `(0, inf)`, `[0, 120]` or `7 categories`."""
        if self.categories is not None:
            return f"{len(self.categories)} categories"
        is_open = self.kind == "positive" and self.step is None
        left = "(-inf" if self.low is None else f"{'(' if is_open else '['}{self.low:.10g}"
        right = "inf)" if self.high is None else f"{self.high:.10g}]"
        return f"{left}, {right}"

    @classmethod
    def of_categories(cls, name: str, values: tuple[Any, ...], dtype: str) -> "Column":
        """A column of these categories, whose codes are 0..K-1 in this order."""
        return cls(name, "categorical", 0.0, len(values) - 1.0, 1.0, values, dtype=dtype)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Column":
        """The column that `dataclasses.asdict` described, perhaps through JSON."""
        categories = data["categories"]
        return cls(**{**data, "categories": None if categories is None else tuple(categories)})
