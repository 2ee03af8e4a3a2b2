"""Which columns of a table are modelled, and which the model is conditioned on."""

from collections.abc import Sequence

from caudal.data.builtin import BuiltIn
from caudal.data.names import near
from caudal.errors import InputError


def choose_columns(
    file: str,
    names: Sequence[str],
    columns: Sequence[str],
    context: Sequence[str],
    known: BuiltIn | None,
) -> tuple[list[str], list[str]]:
    """The columns to model and the context, by `--columns` and `--context`.

    Without `--columns` all columns that are not context are modelled; of built-in data, those
    that are not labels.

    Raises:
        InputError: an unknown or repeated name, one in both, or no column left.
    """
    for option, chosen in (("--columns", columns), ("--context", context)):
        for name in chosen:
            if name not in names:
                raise InputError(
                    f"{option} {name}: {file} has no such column; {near(name, names)}"
                )
            if list(chosen).count(name) > 1:
                raise InputError(f"{option}: '{name}' is named twice")
    both = [name for name in columns if name in context]
    if both:
        raise InputError(f"'{both[0]}' is in --columns and in --context: name it in one of them")
    default = known.columns if known is not None else names
    modelled = list(columns) or [name for name in default if name not in context]
    if not modelled:
        raise InputError(f"{file}: all columns are context, which leaves none to model")
    return modelled, list(context)
