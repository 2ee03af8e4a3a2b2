"""Which format the dates, times or durations of a column have, found from its texts."""

import re
from collections.abc import Iterator
from itertools import product

import pyarrow as pa
import pyarrow.compute as pc

from caudal.data.table.dates import BETWEEN, OPTIONAL, TOKEN, compiled, parse, pattern

NEARLY = 0.95  # share of the different values that a format must fit
_MOST_FORMS, _SHARE_OF_FORM = 5, 0.02  # of them, and of the values that each must fit
_LOOK = r"\d\D+\d|[A-Za-z]{3}\D*\d|\d ?[hms]"  # what a date or a duration has
_LOOKED_AT = 50  # values, to find the formats that are worth a closer look
_DAYS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d"),
    *("%m/%d/%Y", "%d/%m/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y"),
    *("%m/%d/%y", "%d/%m/%y", "%d.%m.%y", "%d-%m-%y"),
    *("%b %d, %Y", "%B %d, %Y", "%b %d %Y", "%B %d %Y", "%d %b %Y", "%d %B %Y"),
    *("%d-%b-%Y", "%d-%b-%y", "%d/%b/%Y", "%Y-%b-%d"),
)
"""Where day and month may be either, the first of two formats that fit is the usual one."""
_MONTHLY = ("%Y-%m", "%Y/%m", "%m/%Y", "%b %Y", "%B %Y", "%b-%Y", "%b-%y", "%Y %b")
_CLOCKS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p")
_UNITS = (
    *(("h", "m", "s", " "), ("h", "m", "s", ""), ("h", "min", "s", " "), ("h", "min", "s", "")),
    *((" h", " min", " s", " "), ("hr", "min", "sec", " "), (" hr", " min", " sec", " ")),
    (" hours", " minutes", " seconds", " "),
)
"""How people write hours, minutes and seconds, and what they put between them."""
_PARTS = tuple(
    form
    for h, m, s, gap in _UNITS
    for form in (
        f"{{%T{h}{gap}}}{{%-M{m}}}",
        f"{{%U{m}{gap}}}{{%-S{s}}}",
        f"{{%T{h}{gap}}}{{%-M{m}{gap}}}{{%-S{s}}}",
    )
)
_SPANS = ("%N days %H:%M:%S.%f", "%T:%M", "%T:%M:%S", "%T:%M:%S.%f", *_PARTS)
_SEVERAL = 0.2  # share of the texts that must have two parts of a duration: 45m may be a length


def find_format(values: pa.Array) -> tuple[str, str | None] | None:
    """The format of nearly all of these different texts, if there is one.

    Returns:
        The format; and another one that fits as well, in which days and months have changed
        places, or None.
    """
    some = values.slice(0, _LOOKED_AT).to_pylist()
    looks = [re.search(_LOOK, text) and len(text) < 48 for text in some]
    if not some or sum(map(bool, looks)) < NEARLY * len(some):
        return None
    candidates: dict[str, int] = {}
    for form in _candidates(some):
        found = [match for text in some if (match := compiled(form).fullmatch(text))]
        whole = sum(len(list(filter(None, match.groups()))) > 1 for match in found)
        if "{" in form and whole < _SEVERAL * len(some):
            continue
        if len(found) >= NEARLY * len(some):
            candidates[form] = len(values) - parse(values, form).null_count
    best = max(candidates.values(), default=0)
    if best < NEARLY * len(values):
        return _several(values)
    forms = [form for form, count in candidates.items() if count == best]
    swapped = [form for form in forms[1:] if sorted(form) == sorted(forms[0])]
    return _exact(values, forms[0]), (_exact(values, swapped[0]) if swapped else None)


def _several(values: pa.Array) -> tuple[str, str | None] | None:
    """Up to five formats of days that together fit nearly all texts, the most frequent first.

    None do where two of them differ in the places of days and months alone: which of these a date
    that fits both is in would be a guess.
    """
    found: dict[str, str] = {}  # with what each is exactly
    others: list[str] = []
    left = values
    while len(found) < _MOST_FORMS and len(left) > (1 - NEARLY) * len(values):
        counts = {form: len(left) - parse(left, form).null_count for form in _DAYS}
        form = max(counts, key=lambda form: counts[form])
        swapped = _swapped(form)
        if counts[form] < _SHARE_OF_FORM * len(values) or swapped in found:
            return None
        fits = pc.is_valid(parse(left, form))
        dates = left.filter(fits)
        found[form] = _exact(dates, form)
        either = counts.get(swapped) == counts[form] and not parse(dates, swapped).null_count
        others.append(_exact(dates, swapped) if swapped != form and either else found[form])
        left = left.filter(pc.invert(fits))
    enough = len(left) <= (1 - NEARLY) * len(values)
    if not enough or len(found) < 2:
        return None
    whole, other = BETWEEN.join(found.values()), BETWEEN.join(others)
    return whole, None if other == whole else other


def _swapped(form: str) -> str:
    """A format with the day in the place of the month, and the reverse."""
    return form.translate(str.maketrans("dm", "md"))


def _candidates(some: list[str]) -> Iterator[str]:
    """The formats that are worth a trial: clocks stand beside days that fit the beginning."""
    yield from (*_DAYS, *_MONTHLY, *_CLOCKS, *_SPANS)
    for day in _DAYS:
        begins = re.compile(pattern(day).removesuffix("$"))
        if sum(bool(begins.match(text)) for text in some) >= NEARLY * len(some):
            for between, clock, zone in product((" ", "T", ", "), _CLOCKS, ("", "%z", " %z")):
                yield day + between + clock + zone


def _exact(values: pa.Array, form: str) -> str:
    """The format with what all values show: no leading zeros, so many decimals, a zone."""
    fields = pc.extract_regex(values, pattern(form)).drop_null()
    seen = {name: fields.field(i) for i, name in enumerate(f.name for f in fields.type)}
    padded = {n: _is_padded(seen[n]) for n in seen if n in "mdHI"}
    for name, is_padded in padded.items():
        # Numbers that are 10 and more throughout are written as those beside them.
        if is_padded is False or (is_padded is None and False in padded.values()):
            form = form.replace(f"%{name}", f"%-{name}")
    for name in "MS":
        if f"%-{name}" in form and pc.min(pc.utf8_length(_there(seen[name]))).as_py() == 2:
            form = form.replace(f"%-{name}", f"%{name}")
    form = _with_whole_parts(form, {n: len(_there(t)) == len(t) for n, t in seen.items()})
    if "f" in seen:
        lengths = pc.unique(pc.utf8_length(seen["f"])).to_pylist()
        if len(lengths) == 1 and 0 < lengths[0] <= 6:
            form = form.replace("%f", f"%{lengths[0]}f")
    if "z" in seen and len(zones := pc.unique(seen["z"])) == 1:
        form = form.replace("%z", zones[0].as_py())
    return form


def _with_whole_parts(form: str, whole: dict[str, bool]) -> str:
    """A format in which what all values have is in no braces.

    A blank behind it belongs to the next part then, and is there where that is.
    """
    blank = ""
    for part in OPTIONAL.findall(form):
        is_whole = all(whole[match[3]] for match in TOKEN.finditer(part))
        inner = part.rstrip(" ")
        moves = bool(is_whole or blank)
        text = blank + (inner if moves else part)
        form = form.replace(f"{{{part}}}", text if is_whole else f"{{{text}}}", 1)
        blank = part[len(inner) :] if moves else ""
    return form


def _there(texts: pa.Array) -> pa.Array:
    """Those of texts that are not empty."""
    return texts.filter(pc.not_equal(texts, ""))


def _is_padded(numbers: pa.Array) -> bool | None:
    """Whether numbers below 10 have a leading zero; None if there are none."""
    if pc.min(pc.utf8_length(numbers)).as_py() == 1:
        return False
    return True if pc.any(pc.starts_with(numbers, "0")).as_py() else None
