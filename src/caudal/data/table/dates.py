"""Dates and times in text of a format: how they are read, and written again.

A format has the letters of `strftime`: %Y %y %m %d %b %B %H %I %M %S %p %z. `%-d` is a day
without a leading zero, `%3f` a fraction of three digits, and `.%f` a fraction that is there if it
is not 0. Durations have `%N` days, and `%T` hours or `%U` minutes in all, which begin with a minus
below 0; what is in braces is there if it is not 0, as in `%Th{ %Mm}`. `%Y-%m-%d | %d/%m/%Y` are
two formats of one column, which is written in the first.
"""

import re
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caudal.data.temporal import UNITS, to_microseconds

BETWEEN = " | "
"""What stands between the formats of a column that has several."""
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
_OPTIONAL_FIELDS = tuple("NTUHMS")  # which may be 0
_NOT_BESIDE = {"N": "YymdbBzTU", "T": "YymdbBzHIpU", "U": "YymdbBzHIpM"}
TOKEN = re.compile(r"\.%f|%(-?)(\d?)([A-Za-z])")
"""A field of a format."""
_IN_ALL = re.compile(r"%-?[TU]")  # hours or minutes in all, which have a sign
OPTIONAL = re.compile(r"\{([^}]*)\}")
"""What is there if it is not 0."""


def is_clock(form: str) -> bool:
    """Whether a format has times of day alone."""
    return not re.search(r"%-?[YybBmdNTU]", form)


def arrow_type(form: str) -> pa.DataType:
    """The type of what a format reads."""
    form = form.partition(BETWEEN)[0]
    if re.search(r"%-?[NTU]", form):
        return pa.duration("us")
    return pa.time64("us") if is_clock(form) else pa.timestamp("us")


@cache
def pattern(form: str) -> str:
    """The regular expression of a whole text in a format, with a group for each field."""
    parts, end = [], 0
    # The sign of a duration is before what comes first.
    sign, start = ("(?:^-)?", "^-?") if _IN_ALL.search(form) else ("", "^")
    for match in OPTIONAL.finditer(form):
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
    for match in TOKEN.finditer(form):
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
def compiled(form: str) -> re.Pattern[str]:
    """The regular expression, compiled."""
    return re.compile(pattern(form))


def problem(form: str) -> str | None:
    """What is wrong with a format that the user gave, or None."""
    if BETWEEN in form:
        return next(filter(None, map(problem, form.split(BETWEEN))), None)
    letters = [match[3] or "f" for match in TOKEN.finditer(form)]
    unknown = [letter for letter in letters if letter not in _FIELDS]
    if unknown:
        return f"%{unknown[0]} is none of %{' %'.join(_FIELDS)}"
    if len(set(letters)) < len(letters) or not letters:
        return "a format names each part of a date once, such as datetime:%d/%m/%Y"
    inner = [match for part in OPTIONAL.findall(form) for match in TOKEN.finditer(part)]
    if odd := [match[0] for match in inner if match[3] not in _OPTIONAL_FIELDS]:
        return f"{odd[0]} cannot be in braces, which are for %{' %'.join(_OPTIONAL_FIELDS)}"
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
    fields = pc.extract_regex(values, pattern(form))
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

    parts = OPTIONAL.findall(form)
    there = [any(numbers[m[3]][0] for m in TOKEN.finditer(part)) for part in parts]
    if parts and not any(there) and not TOKEN.search(OPTIONAL.sub("", form)):
        there[-1] = True
    for part, is_there in zip(parts, there, strict=True):
        form = form.replace(f"{{{part}}}", part if is_there else "", 1)
    return sign + TOKEN.sub(token, form.strip())
