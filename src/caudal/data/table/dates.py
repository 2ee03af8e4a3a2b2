"""Dates and times in text: which format they have, how they are read, and written again.

A format has the letters of `strftime`: %Y %y %m %d %b %B %H %I %M %S %p %z. `%-d` is a day
without a leading zero, `%3f` a fraction of three digits, and `.%f` a fraction that is there if it
is not 0. Durations have `%N` days, and `%T` hours or `%U` minutes in all, which begin with a minus
below 0; what is in braces is there if it is not 0, as in `%Th{ %Mm}`. `%Y-%m-%d | %d/%m/%Y` are
two formats of one column, which is written in the first.
"""

import re
from collections.abc import Iterator
from functools import cache
from itertools import product

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caudal.data.temporal import UNITS, to_microseconds

NEARLY = 0.95  # share of the different values that a format must fit
BETWEEN = " | "  # the formats of a column that has several
_MOST_FORMS, _SHARE_OF_FORM = 5, 0.02  # of them, and of the values that each must fit
_LOOK = r"\d\D+\d|[A-Za-z]{3}\D*\d|\d ?[hms]"  # what a date or a duration has
_LOOKED_AT = 50  # values, to find the formats that are worth a closer look
MONTHS = (
    *("January", "February", "March", "April", "May", "June", "July"),
    *("August", "September", "October", "November", "December"),
)
_SHORT = [name[:3] for name in MONTHS]
_FIELDS = {
    "Y": r"\d{4}",
    "y": r"\d{2}",
    "m": r"0?[1-9]|1[0-2]",
    "d": r"0?[1-9]|[12]\d|3[01]",
    "b": f"(?i:{'|'.join(_SHORT)})",
    "B": f"(?i:{'|'.join(MONTHS)})",
    "N": r"-?\d+",
    "T": r"\d+",
    "U": r"\d+",
    "H": r"[01]?\d|2[0-3]",
    "I": r"0?[1-9]|1[0-2]",
    "M": r"[0-5]\d",
    "S": r"[0-5]\d",
    "p": r"(?i:am|pm)",
    "f": r"\d{1,9}",
    "z": r"Z|[+-]\d\d:?\d\d",
}
_NOT_BESIDE = {"N": "YymdbBzTU", "T": "YymdbBzHIpU", "U": "YymdbBzHIpM"}
_TOKEN = re.compile(r"\.%f|%(-?)(\d?)([A-Za-z])")
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
_IN_ALL = re.compile(r"%-?[TU]")  # hours or minutes in all, which have a sign
_OPTIONAL = re.compile(r"\{([^}]*)\}")


def is_clock(form: str) -> bool:
    """Whether a format has times of day alone."""
    return not re.search(r"%-?[YybBmdNTU]", form)


def arrow_type(form: str) -> pa.DataType:
    """The type of what a format reads."""
    form = form.partition(BETWEEN)[0]
    if re.search(r"%-?[NTU]", form):
        return pa.duration("us")
    return pa.time64("us") if is_clock(form) else pa.timestamp("us")


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
        found = [match for text in some if (match := _compiled(form).fullmatch(text))]
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
        begins = re.compile(_regex(day).removesuffix("$"))
        if sum(bool(begins.match(text)) for text in some) >= NEARLY * len(some):
            for between, clock, zone in product((" ", "T", ", "), _CLOCKS, ("", "%z", " %z")):
                yield day + between + clock + zone


def _exact(values: pa.Array, form: str) -> str:
    """The format with what all values show: no leading zeros, so many decimals, a zone."""
    fields = pc.extract_regex(values, _regex(form)).drop_null()
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
    for part in _OPTIONAL.findall(form):
        is_whole = all(whole[match[3]] for match in _TOKEN.finditer(part))
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


@cache
def _regex(form: str) -> str:
    """The regular expression of a whole text in a format, with a group for each field."""
    parts, end = [], 0
    # The sign of a duration is before what comes first.
    sign, start = ("(?:^-)?", "^-?") if _IN_ALL.search(form) else ("", "^")
    for match in _OPTIONAL.finditer(form):
        inner = match[1].strip(" ")
        before = f"(?: |{start})" if match[1].startswith(" ") else sign
        blank = "(?: |$)" if match[1].endswith(" ") else ""
        if text := form[end : match.start()]:
            parts.append(f"{sign}{_fields(text)}")
        parts.append(f"(?:{before}{_fields(inner)}{blank})?")
        end = match.end()
    rest = f"{sign}{_fields(form[end:])}" if form[end:] else ""
    return f"^{''.join(parts)}{rest}$"


def _fields(form: str) -> str:
    """The regular expression of a part of a format."""
    parts, end = [], 0
    for match in _TOKEN.finditer(form):
        parts.append(re.escape(form[end : match.start()]))
        end = match.end()
        if match[0] == ".%f":
            parts.append(r"(?:\.(?P<f>\d{1,9}))?")
            continue
        field = rf"\d{{{match[2]}}}" if match[2] else _FIELDS[match[3]]
        if match[1] and match[3] in "MS":
            field = r"[0-5]?\d"
        parts.append(f"(?P<{match[3]}>{field})")
    return "".join(parts) + re.escape(form[end:])


@cache
def _compiled(form: str) -> re.Pattern[str]:
    return re.compile(_regex(form))


def problem(form: str) -> str | None:
    """What is wrong with a format that the user gave, or None."""
    if BETWEEN in form:
        return next(filter(None, map(problem, form.split(BETWEEN))), None)
    letters = [match[3] or "f" for match in _TOKEN.finditer(form)]
    unknown = [letter for letter in letters if letter not in _FIELDS]
    if unknown:
        return f"%{unknown[0]} is none of %{' %'.join(_FIELDS)}"
    if len(set(letters)) < len(letters) or not letters:
        return "a format names each part of a date once, such as datetime:%d/%m/%Y"
    for letter, others in _NOT_BESIDE.items():
        if letter in letters and (beside := [other for other in letters if other in others]):
            return f"%{letter} is of durations, and takes no %{beside[0]} beside it"
    return None


def parse(values: pa.Array | pa.ChunkedArray, form: str) -> pa.Array:
    """Texts as the `arrow_type` of a format, null where one is not in the format."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if BETWEEN in form:
        return pc.coalesce(*(parse(values, one) for one in form.split(BETWEEN)))
    fields = pc.extract_regex(values, _regex(form))
    bad = fields.is_null().to_numpy(zero_copy_only=False)
    seen = {f.name: fields.field(i) for i, f in enumerate(fields.type)}
    hours, minutes = _hours(seen) + _whole(seen, "T", 0), _whole(seen, "M", 0)
    seconds = 3600 * hours + 60 * (minutes + _whole(seen, "U", 0)) + _whole(seen, "S", 0)
    us = UNITS["second"] * seconds + np.zeros(len(values), np.int64)
    if "f" in seen:
        digits = pc.utf8_rpad(pc.fill_null(seen["f"], ""), 9, "0")
        us = us + pc.fill_null(digits.cast(pa.int64()), 0).to_numpy(zero_copy_only=False) // 1000
    if seen.keys() & {"T", "U"}:
        is_negative = pc.fill_null(pc.starts_with(values, "-"), False)
        us = np.where(is_negative, -us, us)
    elif "N" in seen:
        us = us + UNITS["day"] * _whole(seen, "N", 0)
    elif pa.types.is_timestamp(arrow_type(form)):
        year = _whole(seen, "Y", 1970) if "Y" in seen else _century(_whole(seen, "y", 70))
        month = ((year - 1970) * 12 + _months(seen) - 1).astype("M8[M]")
        day = month.astype("M8[D]") + (_whole(seen, "d", 1) - 1)
        bad = bad | (day.astype("M8[M]") != month)  # the 31st of April
        us = us + UNITS["day"] * day.astype(np.int64)
    if "z" in seen:
        us = us - _zones(seen["z"])
    return pa.array(us.astype(np.int64), mask=bad).cast(arrow_type(form))


def _whole(seen: dict[str, pa.Array], name: str, default: int) -> np.ndarray:
    """A field as whole numbers, int64 (N,) or (1,); the default where it is not there."""
    if name not in seen:
        return np.array([default])
    texts = pc.if_else(pc.equal(seen[name], ""), None, seen[name])
    return np.asarray(pc.fill_null(texts.cast(pa.int64()), default))


def _hours(seen: dict[str, pa.Array]) -> np.ndarray:
    if "I" not in seen:
        return _whole(seen, "H", 0)
    is_pm = pc.equal(pc.utf8_lower(seen["p"]), "pm") if "p" in seen else pa.array([False])
    return _whole(seen, "I", 12) % 12 + 12 * np.asarray(pc.fill_null(is_pm, False)).astype(int)


def _months(seen: dict[str, pa.Array]) -> np.ndarray:
    for name in set(seen) & {"b", "B"}:
        short = pc.utf8_capitalize(pc.utf8_slice_codeunits(seen[name], 0, 3))
        index = pc.index_in(short, value_set=pa.array(_SHORT))
        return np.asarray(pc.fill_null(index, 0)).astype(np.int64) + 1
    return _whole(seen, "m", 1)


def _century(year: np.ndarray) -> np.ndarray:
    """Years of two digits, from 1969 to 2068 as POSIX has it."""
    return year + np.where(year < 69, 2000, 1900)


def _zones(texts: pa.Array) -> np.ndarray:
    """How far zones such as +02:00 are ahead of UTC, in microseconds."""
    minutes = []
    for text in pc.fill_null(texts, "Z").to_pylist():
        digits = text.replace(":", "")
        size = 0 if text in ("Z", "") else int(digits[1:3]) * 60 + int(digits[3:5])
        minutes.append(-size if text.startswith("-") else size)
    return np.array(minutes, np.int64) * UNITS["minute"]


def write(data: pa.Array, form: str) -> pa.Array:
    """Values of the `arrow_type` of a format as texts in it, of several in the first."""
    form = form.partition(BETWEEN)[0]
    us = to_microseconds(pa.chunked_array([data]))
    gaps = np.isnan(us)
    different, places = np.unique(np.where(gaps, 0, us).astype(np.int64), return_inverse=True)
    texts = pa.array([_write(int(us), form) for us in different], pa.string())
    return texts.take(pa.array(places, mask=gaps))


def _write(us: int, form: str) -> str:
    sign = "-" if us < 0 and _IN_ALL.search(form) else ""
    us = abs(us) if sign else us
    days, left = divmod(us, UNITS["day"])
    seconds, fraction = divmod(left, UNITS["second"])
    date = np.int64(days).astype("M8[D]")
    month = int(date.astype("M8[M]").astype(int))
    year, index = 1970 + month // 12, month % 12
    hour = seconds // 3600
    numbers = {
        **{"Y": (year, 4), "y": (year % 100, 2), "m": (index + 1, 2), "N": (days, 1)},
        **{"d": (int((date - date.astype("M8[M]").astype("M8[D]")).astype(int)) + 1, 2)},
        **{"H": (hour, 2), "I": ((hour - 1) % 12 + 1, 2), "M": (seconds // 60 % 60, 2)},
        **{"S": (seconds % 60, 2), "T": (us // UNITS["hour"], 1), "U": (us // UNITS["minute"], 1)},
    }
    names = {
        "b": _SHORT[index],
        "B": MONTHS[index],
        "p": "PM" if hour >= 12 else "AM",
        "z": "+00:00",
    }

    def token(match: re.Match[str]) -> str:
        if match[0] == ".%f":
            return f".{fraction:06d}".rstrip("0") if fraction else ""
        if match[3] == "f":
            return f"{fraction:06d}"[: int(match[2])]
        if match[3] in names:
            return names[match[3]]
        number, digits = numbers[match[3]]
        return f"{number:0{1 if match[1] else digits}d}"

    parts = _OPTIONAL.findall(form)
    there = [any(numbers[m[3]][0] for m in _TOKEN.finditer(part)) for part in parts]
    if parts and not any(there) and not _TOKEN.search(_OPTIONAL.sub("", form)):
        there[-1] = True
    for part, is_there in zip(parts, there, strict=True):
        form = form.replace(f"{{{part}}}", part if is_there else "", 1)
    return sign + _TOKEN.sub(token, form.strip())
