"""Numbers as people read them."""

import math

from caudal.data import Summary

LARGE = 1e6  # from here on, digits after the point say nothing
OUTSIDE = (
    "outside the support of a column, where the density is 0, or too far from the data for the "
    "flow's precision"
)
"""Why a row can score minus infinity."""


def number(value: float | None, digits: int = 3) -> str:
    """A number to read; infinities as signs, nothing for what is not known."""
    if value is None or math.isnan(value):
        return ""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.6g}" if abs(value) >= LARGE else f"{value:,.{digits}f}"


def plus_minus(value: float | None, two_se: float | None) -> str:
    """A mean with two standard errors, where it has them."""
    if value is None or two_se is None or not math.isfinite(value) or math.isnan(two_se):
        return number(value)
    return f"{number(value)} ± {number(two_se)}"


def span(summary: Summary) -> str:
    """The values of a column on one line, with digits enough that different ones look so."""
    ends = (summary.low, summary.median, summary.high)
    known = [end for end in ends if end is not None]
    if not known:
        return summary.values
    for digits in (6, 10, 17):
        words = [f"{end:.{digits}g}" for end in known]
        if len(set(words)) == len(set(known)):
            break
    return " .. ".join(words)
