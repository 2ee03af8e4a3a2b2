"""Numbers as people write them, such as `$1,234.50` or `12,5 %`: found, read, and written again.

A format is a number pattern as spreadsheets have it: `$#,##0.00`, `0.0%`, `#.##0,0# kg`; zeros are
digits that are always there, `#` those that are there if needed. After a semicolon stands what
negative numbers look like, if it is not a minus in front: `$#,##0.00;($#,##0.00)`.
"""

import re
from functools import cache
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

NEARLY = 0.95  # share of the different values that a format must fit
_SIGNS = "$€£¥₹₽₩₺฿₫₴₪"
_CODES = "USD|EUR|GBP|CHF|JPY|CNY|INR|CAD|AUD|SEK|NOK|DKK|PLN|BRL"
_CURRENCY = rf"(?:[A-Z]{{0,3}}[{_SIGNS}]|{_CODES}|Rs\.?|kr\.?)"
_GROUPS = ",.'’ \u00a0\u202f"
_FIGURE = (
    r"^(?P<open>\(?)(?P<sign>[+-]?)"
    rf"(?P<before>(?:{_CURRENCY}\s?)?)(?P<inner>-?)"
    rf"(?P<number>\d{{1,3}}(?:[{_GROUPS}]\d{{3}})+(?:[.,]\d+)?|\d+(?:[.,]\d+)?|\.\d+)"
    rf"(?P<after>(?:\s?[%‰°]?[^\W\d_]{{0,12}}|\s?%?[{_SIGNS}])(?:/[^\W\d_]{{1,8}})?[²³]?)"
    r"(?P<close>\)?)$"
)
_PATTERN = re.compile(
    r"(?P<before>[^#0]*)(?:#(?P<group>[^#0])##)?0(?:(?P<mark>[.,])(?P<always>0*)(?P<free>#*))?"
    r"(?P<after>[^#0]*)"
)


class Pattern(NamedTuple):
    """A format taken apart: what stands around a number, its marks, and its decimals."""

    before: str
    group: str
    mark: str
    least: int
    most: int
    after: str
    negative: tuple[str, str]  # what stands around a negative number


def find_format(values: pa.Array) -> str | None:
    """The format of nearly all of these different texts, unless they are plain numbers."""
    fields = pc.extract_regex(values, _FIGURE)
    fits = fields.drop_null()
    if not len(fits) or len(fits) < NEARLY * len(values):
        return None
    parts = {f.name: fits.field(i) for i, f in enumerate(fits.type)}
    before, after = _common(parts["before"]), _common(parts["after"])
    if before is None or after is None:
        return None
    numbers = parts["number"].to_pylist()
    marks = _marks(numbers)
    if marks is None:
        return None
    group, mark = marks
    brackets = pc.any(pc.equal(parts["open"], "(")).as_py()
    if not (before.strip() or after.strip() or group or mark == "," or brackets):
        return None
    decimals = [len(n.rpartition(mark)[2]) if mark and mark in n else 0 for n in numbers]
    least, most = min(decimals), max(decimals)
    digits = f"#{group}##0" if group else "0"
    digits += f"{mark or '.'}{'0' * least}{'#' * (most - least)}" if most else ""
    plus = "+" if pc.any(pc.equal(parts["sign"], "+")).as_py() else ""
    form = f"{plus}{before}{digits}{after}"
    if brackets:
        return f"{form};({before}{digits}{after})"
    if pc.any(pc.equal(parts["inner"], "-")).as_py() and before:
        return f"{form};{before}-{digits}{after}"
    return f"{form};-{before}{digits}{after}" if plus else form


def _common(texts: pa.Array) -> str | None:
    """The text that nearly all of these are, if there is one."""
    counted = texts.value_counts()
    at = int(np.argmax(counted.field("counts").to_numpy()))
    if counted.field("counts")[at].as_py() < NEARLY * len(texts):
        return None
    return str(counted.field("values")[at].as_py())


def _marks(numbers: list[str]) -> tuple[str, str] | None:
    """What separates thousands, and decimals, empty where nothing does; None if they disagree."""
    used = [re.sub(r"\d", "", number) for number in numbers]
    kinds = set("".join(used))
    if not kinds:
        return "", ""
    both = next((u for u in used if len(set(u)) == 2), None)
    if both is not None:
        group, mark = both[0], both[-1]
        return (group, mark) if kinds <= {group, mark} and mark in ".," else None
    if len(kinds) > 1:
        return None
    (kind,) = kinds
    several = any(len(u) > 1 for u in used)
    if kind not in ".,":
        return kind, ""
    thousands = all(
        re.fullmatch(rf"[1-9]\d{{0,2}}({re.escape(kind)}\d{{3}})+|\d{{1,3}}", n) for n in numbers
    )
    if several or (kind == "," and thousands):
        return (kind, "") if thousands else None
    return "", kind


@cache
def taken_apart(form: str) -> Pattern | None:
    """The parts of a format; None if it is none."""
    positive, _, negative = form.partition(";")
    match = _PATTERN.fullmatch(positive)
    other = _PATTERN.fullmatch(negative or f"-{positive}")
    if match is None or other is None:
        return None
    always, free = len(match["always"] or ""), len(match["free"] or "")
    around = other["before"], other["after"]
    marks = match["group"] or "", match["mark"] or "."
    return Pattern(match["before"], *marks, always, always + free, match["after"], around)


def fits(values: pa.Array, form: str) -> bool:
    """Whether all of these texts are numbers in the format, with its marks where it has them."""
    pattern = _known(form)
    group, mark = re.escape(pattern.group), re.escape(pattern.mark)
    whole = rf"\d{{1,3}}(?:{group}\d{{3}})+|\d+" if group else r"\d+"
    # A format of whole numbers has no mark of its own.
    figure = rf"^(?:{whole})$" if mark == group else rf"^(?:(?:{whole})(?:{mark}\d*)?|{mark}\d+)$"
    there = pc.match_substring_regex(pc.utf8_trim_whitespace(_bare(values, pattern)), figure)
    return bool(pc.all(there, min_count=0).as_py())


def _known(form: str) -> Pattern:
    pattern = taken_apart(form)
    assert pattern is not None
    return pattern


def _bare(values: pa.Array, pattern: Pattern) -> pa.Array:
    """Texts without what stands around the number: units, signs, brackets."""
    texts = pc.utf8_trim_whitespace(values)
    around = {*(pattern.before, pattern.after), *pattern.negative}
    for part in sorted({p.strip(" +-()") for p in around} - {""}, key=len, reverse=True):
        texts = pc.replace_substring(texts, part, "")
    return pc.replace_substring_regex(texts, r"^\(|\)$|[+-]", "")


def parse(values: pa.Array | pa.ChunkedArray, form: str) -> pa.Array:
    """Texts as float64, null where one is no number in the format; plain numbers are read too."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    pattern = _known(form)
    negative = pc.match_substring_regex(pc.utf8_trim_whitespace(values), r"^\(.*\)$|^[^\d]*-")
    texts = _bare(values, pattern)
    if pattern.group:
        texts = pc.replace_substring(texts, pattern.group, "")
    texts = pc.utf8_trim_whitespace(pc.replace_substring(texts, pattern.mark, "."))
    good = pc.match_substring_regex(texts, r"^(\d+\.?\d*|\.\d+)$")
    numbers = pc.if_else(good, texts, None).cast(pa.float64())
    return pc.if_else(negative, pc.negate(numbers), numbers)


def write(numbers: np.ndarray, form: str) -> list[str]:
    """Numbers (N,) as texts in a format."""
    pattern = taken_apart(form)
    assert pattern is not None
    return [_write(number, pattern) for number in numbers]


def _write(number: float, pattern: Pattern) -> str:
    size = f"{abs(number):,.{pattern.most}f}"
    whole, _, decimals = size.partition(".")
    kept = decimals[: pattern.least] + decimals[pattern.least :].rstrip("0")
    text = whole.replace(",", pattern.group) + (pattern.mark + kept if kept else "")
    is_negative = number < 0 and float(size.replace(",", "")) != 0
    before, after = pattern.negative if is_negative else (pattern.before, pattern.after)
    return before + text + after
