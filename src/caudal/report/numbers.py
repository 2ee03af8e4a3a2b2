"""Numbers as people read them."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from caudal.data import Column, Summary
from caudal.flow import Flow

LARGE = 1e6  # from here on, digits after the point say nothing


def number(value: float | None, digits: int = 3) -> str:
    """A number to read; infinities are signs, and an unknown number is an empty string."""
    if value is None or math.isnan(value):
        return ""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.6g}" if abs(value) >= LARGE else f"{value:,.{digits}f}"


def plus_minus(value: float | None, two_se: float | None, digits: int = 3) -> str:
    """A mean, with two standard errors where they are known."""
    if value is None or two_se is None or not math.isfinite(value) or math.isnan(two_se):
        return number(value, digits)
    return f"{number(value, digits)} ± {number(two_se, digits)}"


def short(value: float | None) -> str:
    """A number with two significant digits, for errors, which may be small."""
    return f"{value:.2g}" if value is not None and value < 100 else number(value, 0)


def signed(value: float) -> str:
    """A number with its sign, a real minus, and one decimal."""
    return f"{value:+.1f}".replace("-", "−")


def count(n: int, one: str, many: str) -> str:
    """How many there are, in words: `1 row`, `2,000 rows`."""
    return f"{n:,} {one if n == 1 else many}"


def a(noun: str) -> str:
    """The noun with its indefinite article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def span(summary: Summary) -> str:
    """The values of a column on one line, with enough digits to tell different ones apart."""
    ends = (summary.low, summary.median, summary.high)
    known = [end for end in ends if end is not None]
    if not known:
        return summary.values
    for digits in (6, 10, 17):
        words = [f"{end:.{digits}g}" for end in known]
        if len(set(words)) == len(set(known)):
            break
    return " .. ".join(words)


def step(column: Summary | Column) -> str:
    """The step of a column in words, such as `0.05` or `15 minute`; empty where there is none."""
    if not column.step:
        return ""
    return f"{column.step:g} {column.unit}" if column.unit else f"{column.step:g}"


def parameters(flow: Flow) -> int:
    """How many numbers training changes."""
    return sum(p.numel() for p in flow.parameters() if p.requires_grad)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """The rows of a table as lines of text, with their columns below each other."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def plain(value: Any) -> Any:
    """A value as JSON can hold it: null for a number that is not finite."""
    return value if not isinstance(value, float) or math.isfinite(value) else None


def mean_two_se(values: Tensor) -> tuple[float, float]:
    """Mean and two standard errors, NaN where there are too few values for them."""
    if len(values) < 2:
        return float(values.mean()), math.nan
    return float(values.mean()), 2 * float(values.std()) / math.sqrt(len(values))


def ratio_two_se(totals: Tensor, elements: Tensor) -> tuple[float, float]:
    """Mean over elements of totals (N,) of items with so many elements (N,), and its two s.e.

    r = sum of totals / sum of elements. Its error is over items, from their residuals:
    se^2 = N / (N - 1) sum (total - r elements)^2 / (sum of elements)^2. NaN where items are too
    few. Reference: Cochran, Sampling techniques, 1977, chapter 6.
    """
    n = len(totals)
    if n == 0:
        return math.nan, math.nan
    whole = elements.sum()
    mean = totals.sum() / whole
    if n < 2 or not mean.isfinite():
        return float(mean), math.nan
    squares = (totals - mean * elements).square().sum()
    return float(mean), 2 * float((squares * n / (n - 1)).sqrt() / whole)
