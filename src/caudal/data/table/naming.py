"""Names of columns that may be missing in a file, or there twice."""

from collections.abc import Sequence


def distinct(names: Sequence[str], where: str) -> tuple[list[str], list[str]]:
    """Names by which columns can be told apart, and notes on those that are new.

    The second `price` becomes `price_2`; a column without a name, perhaps a saved index, becomes
    `unnamed_0`, with its number from 0.

    Args:
        names: as the data have them, "" where there is none.
        where: what notes call the data.
    """
    taken, made = set(names), []
    repeated = []
    for i, name in enumerate(names):
        new = name or _free(f"unnamed_{i}", taken)
        if new in made:
            new = next(f for n in range(2, len(names) + 2) if (f := f"{name}_{n}") not in taken)
            repeated.append(f"'{name}' is now '{new}'")
        taken.add(new)
        made.append(new)
    notes = []
    if repeated:
        more = f" and {len(repeated) - 4} more" if len(repeated) > 4 else ""
        notes.append(f"{where} has names of columns twice: {', '.join(repeated[:4])}{more}")
    return made, notes


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name
