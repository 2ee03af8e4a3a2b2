"""Unknown names, with suggestions."""

from collections.abc import Sequence


def near(name: str, names: Sequence[str]) -> str:
    """The end of an error about an unknown name: the nearest names, or all of them if few."""
    from difflib import get_close_matches

    return alike(get_close_matches(name, names, n=3, cutoff=0.6), names)


def alike(similar: Sequence[str], names: Sequence[str]) -> str:
    """Like `near`, for a caller that knows which of the names are similar."""
    if similar:
        return "did you mean " + " or ".join(f"'{name}'" for name in similar) + "?"
    if not names:
        return "there are none"
    shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    return f"there are {shown}"
