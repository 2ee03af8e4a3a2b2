"""What the user says of the columns of a table, and which of them that leaves."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from caudal.data.builtin import BuiltIn
from caudal.data.refusals import check_once, check_texts
from caudal.errors import InputError
from caudal.fields import check_value
from caudal.files import path_of
from caudal.names import near


@dataclass(frozen=True)
class Wishes:
    """What the user says of the columns; see `open_data`."""

    columns: Sequence[str] = ()
    target: str | None = None
    context: Sequence[str] = ()
    weights: str | None = None
    exclude: Sequence[str] = ()
    types: Sequence[str] = ()
    types_from: str | None = None
    missing: str = "auto"
    strict: bool = False

    def __post_init__(self) -> None:
        for name in ("columns", "context", "exclude", "types"):
            check_texts(name, getattr(self, name))
        if self.types_from is not None:
            path_of(self.types_from, "types_from")
        check_value("target", self.target, str | None)
        check_value("weights", self.weights, str | None)
        check_value("strict", self.strict, bool)

    @property
    def named(self) -> dict[str, tuple[str, ...]]:
        """The columns that each option names."""
        lists = {name: tuple(getattr(self, name)) for name in ("columns", "context", "exclude")}
        ones = {"target": self.target, "weights": self.weights}
        return lists | {name: () if one is None else (one,) for name, one in ones.items()}

    @property
    def policy(self) -> str:
        """What becomes of missing values."""
        return "refuse" if self.strict and self.missing == "auto" else self.missing


def choose_columns(
    file: str, names: Sequence[str], wishes: Wishes, known: BuiltIn | None
) -> tuple[list[str], list[str]]:
    """The columns to model and the context, as the user names them.

    Where neither `columns` nor `target` name any, all columns are modelled that are neither
    context nor excluded; of built-in data, labels are left out. With a `target`, the others are
    its context.

    Raises:
        InputError: a name is unknown, repeated, or in two of them, or no column is left.
    """
    options = wishes.named
    for option, wanted in options.items():
        for name in wanted:
            if name not in names:
                hint = near(name, names)
                raise InputError(f"`{option}` {name}: {file} has no such column; {hint}")
        check_once(option, wanted)
    _check_target(wishes)
    for one, other in combinations(options, 2):
        if both := [name for name in options[one] if name in options[other]]:
            raise InputError(f"'{both[0]}' is in `{one}` and in `{other}`: name it in one of them")
    default = known.columns if known is not None else names
    apart = {*wishes.context, *wishes.exclude, *options["target"], *options["weights"]}
    others = [name for name in default if name not in apart]
    if wishes.target is not None:
        if not others:
            raise InputError(
                f"`target` {wishes.target}: {file} has no other column to predict it from"
            )
        return [wishes.target], others
    modelled = list(wishes.columns) or others
    if not modelled:
        what = "context or excluded" if wishes.exclude else "context"
        raise InputError(f"{file}: all columns are {what}, which leaves none to model")
    return modelled, list(wishes.context)


def _check_target(wishes: Wishes) -> None:
    """Refuses other choices of columns beside a target."""
    for option in ("columns", "context"):
        if wishes.target is not None and (names := wishes.named[option]):
            raise InputError(
                f"`target` {wishes.target} and `{option}` {names[0]}: a target is modelled given "
                f"all other columns: leave `{option}` out, or `target`"
            )


def with_own_types(
    types: Sequence[str], known: BuiltIn | None, used: Sequence[str]
) -> Sequence[str]:
    """The user's types, and those of built-in data for the other columns."""
    if known is None:
        return types
    declared = {text.rpartition("=")[0] for text in types}
    own = [t for t in known.types if t.partition("=")[0] in set(used) - declared]
    return [*own, *types]
