"""Columns that a model needs and a table lacks."""

import re
from collections.abc import Sequence

from caudal.errors import InputError
from caudal.names import alike, near

__all__ = ["alike", "check_names", "near"]


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
