"""Names that there are not, and the names that were perhaps meant."""

import difflib
import re
from collections.abc import Sequence

from caudal.errors import InputError


def near(name: str, names: Sequence[str]) -> str:
    """The end of an error about an unknown name: the nearest names, or all of them if few."""
    return alike(difflib.get_close_matches(name, names, n=3, cutoff=0.6), names)


def alike(found: Sequence[str], names: Sequence[str]) -> str:
    """The same, where it is known which names are near."""
    if found:
        return "did you mean " + " or ".join(f"'{n}'" for n in found) + "?"
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"there are {shown}"


def check_names(wanted: Sequence[str], given: Sequence[str], file: str) -> None:
    """Refuses a table that lacks columns.

    Raises:
        InputError: names them.
    """
    lacking = [name for name in wanted if name not in given]
    if lacking:
        shown = ", ".join(f"'{n}'" for n in lacking[:8]) + (", ..." if len(lacking) > 8 else "")
        hint = near(lacking[0], list(given))
        if _headerless(wanted) and not _headerless(given):
            hint = "the run's table had no header: leave it out here, or name columns c0, c1, ..."
        elif _headerless(given) and not _headerless(wanted):
            hint = f"it has no header: give it one with {', '.join(wanted[:8])}"
        raise InputError(f"{file} has no column {shown} that the model needs; {hint}")
    for name in wanted:
        if list(given).count(name) > 1:
            raise InputError(f"{file} has the column '{name}' twice: rename one of them")


def _headerless(names: Sequence[str]) -> bool:
    """Whether these are the names that columns without a header get."""
    return all(re.fullmatch(r"c\d+", name) for name in names)
