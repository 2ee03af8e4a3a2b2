"""What the user says of the columns of a table, and which of them that leaves."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from caudal.data.builtin import BuiltIn
from caudal.data.refusals import check_once
from caudal.errors import InputError
from caudal.names import near


@dataclass(frozen=True)
class Wishes:
    """What the user says of the columns; see `open_data`."""

    columns: Sequence[str] = ()
    context: Sequence[str] = ()
    exclude: Sequence[str] = ()
    types: Sequence[str] = ()
    types_from: str | None = None
    missing: str = "auto"
    strict: bool = False

    @property
    def policy(self) -> str:
        """What becomes of missing values."""
        return "refuse" if self.strict and self.missing == "auto" else self.missing


def choose_columns(
    file: str, names: Sequence[str], wishes: Wishes, known: BuiltIn | None
) -> tuple[list[str], list[str]]:
    """The columns to model and the context, as `columns`, `context` and `exclude` name them.

    Where `columns` is empty, all columns are modelled that are neither context nor excluded; of
    built-in data, labels are left out.

    Raises:
        InputError: a name is unknown, repeated, or in two of them, or no column is left.
    """
    options = {name: getattr(wishes, name) for name in ("columns", "context", "exclude")}
    for option, wanted in options.items():
        for name in wanted:
            if name not in names:
                hint = near(name, names)
                raise InputError(f"`{option}` {name}: {file} has no such column; {hint}")
        check_once(option, wanted)
    for one, other in combinations(options, 2):
        if both := [name for name in options[one] if name in options[other]]:
            raise InputError(f"'{both[0]}' is in `{one}` and in `{other}`: name it in one of them")
    default = known.columns if known is not None else names
    apart = {*wishes.context, *wishes.exclude}
    modelled = list(wishes.columns) or [name for name in default if name not in apart]
    if not modelled:
        what = "context or excluded" if wishes.exclude else "context"
        raise InputError(f"{file}: all columns are {what}, which leaves none to model")
    return modelled, list(wishes.context)


def with_own_types(
    types: Sequence[str], known: BuiltIn | None, used: Sequence[str]
) -> Sequence[str]:
    """The user's types, and those of built-in data for the other columns."""
    if known is None:
        return types
    declared = {text.rpartition("=")[0] for text in types}
    own = [t for t in known.types if t.partition("=")[0] in set(used) - declared]
    return [*own, *types]
