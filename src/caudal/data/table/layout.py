"""Where the table stands in a text file: what is before it, its header, and its width."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from caudal.data.refusals import check_columns
from caudal.data.table.convert import show
from caudal.data.table.dialect import (
    DELIMITER_LINE,
    SAMPLE,
    Dialect,
    Row,
    decoded,
    find_comment,
    find_decimal,
    find_delimiter,
    find_quoting,
    read_sample,
    rows_in,
    text_suffix,
)
from caudal.data.table.encodings import find_encoding
from caudal.data.table.quoting import BLANK, DOUBLED, Quoting, doubtful
from caudal.data.table.values import MARKS, MISSING, NUMBER, with_point

_LINES = 2000  # lines that are looked at
_TITLES = 30  # of these, among which the header is


@dataclass(frozen=True)
class Layout:
    """A text file that was looked at.

    Attributes:
        dialect: all of it; only `comment` may be None.
        skip: how many lines stand before the first row, the header among them.
        header: the line that names the columns, or None.
        names: the names as the file has them, "" where it has none; None without a header.
        width: how many columns there are.
        newline: the end of a line.
        notes: what was found and is not usual.
        quoting: how quotes are written.
    """

    dialect: Dialect
    skip: int
    header: str | None
    names: tuple[str, ...] | None
    width: int
    newline: str
    notes: tuple[str, ...]
    quoting: Quoting = DOUBLED


def look_at(path: Path, name: str, asked: Dialect) -> Layout:
    """Looks at a text file: what `asked` leaves open is found.

    Raises:
        InputError: the file is empty, damaged, or not of the encoding that was asked for.
    """
    encoding = asked.encoding or find_encoding(path, name)
    text, newline, whole = read_sample(path, name, encoding)
    lines = text.split("\n")
    whole, lines = whole and len(lines) <= _LINES, lines[:_LINES]
    comment = asked.comment or find_comment(lines)
    plain = ["" if comment and line.lstrip().startswith(comment) else line for line in lines]
    if re.fullmatch(DELIMITER_LINE, plain[0]):
        asked, plain[0] = asked.over(Dialect(delimiter=plain[0].strip('"')[-1])), ""
    suffix = text_suffix(path)
    delimiter = asked.delimiter or find_delimiter(plain, suffix)
    quoting = find_quoting(plain, delimiter, whole)
    if quoting == DOUBLED and not whole and delimiter != BLANK:
        quoting = _late_quoting(path, name, encoding, delimiter, plain)
    rows = rows_in(plain, delimiter, quoting)
    decimal = asked.decimal or find_decimal(v for row in rows for v in row.values)
    dialect = Dialect(encoding, delimiter, decimal, comment, asked.na)
    begin, names, width = _find_table(rows, decimal)
    check_columns(width, name)
    first = rows[begin].first if rows else 0
    skip, header, second = first, None, None
    if names is not None:
        skip, header = rows[begin].end, "\n".join(lines[first : rows[begin].end])
        if (second := _second_header(rows[begin + 1 :], width, decimal)) is not None:
            skip = second.end
        if names[0] == "" and len(names) > len(rows[begin].values):  # the names of rows have none
            header = f'""{delimiter}{header}'
        header = _cut(header, width, len(rows[begin].values), delimiter)
    elif comment and (above := _commented(lines[:first], comment, delimiter, width)):
        header, names = above
    notes = _notes(name, dialect, asked, rows[:begin], lines, comment)
    if second is not None:
        words = show(" ".join(filter(None, second.values)))
        notes.append(f"{name}, line {second.end}: words over numbers, {words}, passed over")
    return Layout(dialect, skip, header, names, width, newline, tuple(notes), quoting)


def _late_quoting(
    path: Path, name: str, encoding: str, delimiter: str, lines: Sequence[str]
) -> Quoting:
    """How quotes are written in a file whose first lines do not show it.

    In each block, the lines from the first doubtful place on are looked at beside the first ones.
    """
    rest, is_inside = b"", False
    for data, final in decoded(path, name, encoding):
        data = rest + data
        if match := doubtful(delimiter).search(data):
            begin = _line_outside(data, match.start(), is_inside)
            below = data[begin : begin + SAMPLE].decode(errors="replace").split("\n")
            whole = final and len(data) <= begin + SAMPLE and len(below) <= _LINES + 1
            quoting = find_quoting([*lines, *below[:-1][:_LINES]], delimiter, whole)
            if quoting != DOUBLED:
                return quoting
        used = data.rfind(b"\n") + 1
        is_inside ^= bool(data.count(b'"', 0, used) % 2)
        rest = data[used:]
    return DOUBLED


def _line_outside(data: bytes, offset: int, is_inside: bool) -> int:
    """Where the last line begins that is not later and, as quotes are paired, is in no quotes."""
    for _ in range(_LINES):
        begin = data.rfind(b"\n", 0, offset) + 1
        if data.count(b'"', 0, begin) % 2 == is_inside or begin == 0:
            break
        offset = begin - 1
    return begin


def _find_table(rows: Sequence[Row], decimal: str) -> tuple[int, tuple[str, ...] | None, int]:
    """Which row is the first of the table, its values if it is a header, and the width."""
    if not rows:
        return 0, None, 1
    widths = Counter(len(row.values) for row in rows)
    width = max(widths, key=lambda w: (widths[w], w))
    first = rows[0].values
    while len(first) > width and not first[-1]:
        first = first[:-1]
    rows = [rows[0]._replace(values=first), *rows[1:]]
    if len(first) > width and all(first):  # rows that lack their last values
        return 0, tuple(first), len(first)
    begin = _below_titles([row.values for row in rows], width, decimal)
    values = rows[begin].values
    below = [row.values for row in rows[begin + 1 :] if len(row.values) == width]
    if begin and _is_short_header(rows[begin - 1].values, values, below, decimal):
        names = rows[begin - 1].values
        if not any(row[-1] for row in [values, *below]):  # each line ends in a delimiter
            return begin - 1, tuple(names), width - 1
        return begin - 1, ("", *names), width
    if has_header(values, below, decimal):
        return begin, tuple(values), width
    return begin, None, width


def _below_titles(rows: Sequence[Sequence[str]], width: int, decimal: str) -> int:
    """Which row is the first that is as wide as the table, and no title.

    Spreadsheets fill up lines of titles with delimiters: these hold values in few columns, and a
    row of words in all, or nearly all, of them follows.
    """
    wide = [i for i, row in enumerate(rows) if len(row) == width]
    filled = [sum(map(bool, rows[i])) for i in wide]
    usual = sorted(filled)[len(filled) // 2]
    few = max(1, usual // 2 + usual % 2)
    for place, (i, count) in enumerate(zip(wide[:_TITLES], filled, strict=False)):
        if count <= few:
            continue
        words = not any(_is_number(value, decimal) for value in rows[i] if value)
        return i if place and words and count >= usual - 1 and usual > 2 else wide[0]
    return wide[0]


def _second_header(rows: Sequence[Row], width: int, decimal: str) -> Row | None:
    """The row below the header if it holds words over columns of numbers alone, such as units.

    A row of data has a value over another column, or one word, such as unknown, over all.
    """
    if not rows or len(rows[0].values) != width:
        return None
    below = [row.values for row in rows[1:] if len(row.values) == width]
    pairs = _beside(rows[0].values, below, decimal)
    filled = [(v, of) for v, of in pairs if v not in MISSING and v not in MARKS]
    is_data = any(not of_numbers or _is_number(v, decimal) for v, of_numbers in filled)
    words = {v for v, _ in filled}
    return rows[0] if len(below) > 1 and len(words) > 1 and not is_data else None


def _is_short_header(
    names: Sequence[str], first: Sequence[str], rows: Sequence[Sequence[str]], decimal: str
) -> bool:
    """Whether these name all columns but one: the names of rows, or an empty last one."""
    words = {v for v in names if v and not re.fullmatch(NUMBER, v)}
    if len(names) != len(words) or len(names) != len(first) - 1:
        return False
    if any(of and not _is_number(v, decimal) for v, of in _beside(first, rows, decimal)):
        return False  # the first row is a header itself
    return len(first) > 2 or first[0] in ("0", "1") or not first[-1]


def has_header(first: Sequence[str], rows: Sequence[Sequence[str]], decimal: str) -> bool:
    """Whether the first row names the columns, judged by how it differs from the rows below.

    It does not if each column of numbers has a number in the first row too, and one of these has
    a sign or decimals, or there are no columns of text, or one repeats its first value below.
    """
    if not rows or [str(i) for i in range(len(first))] == list(first):
        return True  # the second is how pandas writes a frame without names
    numbers = [v for v, of_numbers in _beside(first, rows, decimal) if of_numbers]
    if not numbers or not all(_is_number(v, decimal) for v in numbers):
        return True
    if not all(v.isdigit() for v in numbers):
        return False  # names that are numbers are years and the like
    pairs = zip(_beside(first, rows, decimal), zip(*rows, strict=True), strict=True)
    texts = [(v, column) for (v, of_numbers), column in pairs if not of_numbers and any(column)]
    return bool(texts) and not any(v in column for v, column in texts)


def _beside(
    first: Sequence[str], rows: Sequence[Sequence[str]], decimal: str
) -> list[tuple[str, bool]]:
    """The first values, each with whether those below in its column are numbers."""
    columns = [
        [v for v in column if v not in MISSING and v not in MARKS]
        for column in zip(*rows, strict=True)
    ] or [[] for _ in first]
    is_number = [bool(c) and all(_is_number(v, decimal) for v in c) for c in columns]
    return list(zip(first, is_number, strict=True))


def _is_number(value: str, decimal: str) -> bool:
    return re.fullmatch(NUMBER, with_point(value) if decimal == "," else value) is not None


def _commented(
    lines: Sequence[str], comment: str, delimiter: str, width: int
) -> tuple[str, tuple[str, ...]] | None:
    """The names in the last comment above rows without a header, if there are as many as columns.

    This is how NumPy writes a header.
    """
    above = [line.strip() for line in lines if line.strip().startswith(comment)]
    text = above[-1].lstrip(comment).strip() if above else ""
    rows = rows_in([text], delimiter)
    if not rows or len(rows[0].values) != width or not all(rows[0].values):
        return None
    return text, tuple(rows[0].values)


def _cut(header: str, width: int, values: int, delimiter: str) -> str:
    """The header without the delimiters at its end behind which no column stands."""
    for _ in range(values - width):
        header = header.rstrip().removesuffix('""').rstrip().removesuffix(delimiter)
    return header


def _notes(
    name: str,
    dialect: Dialect,
    asked: Dialect,
    before: Sequence[Row],
    lines: Sequence[str],
    comment: str | None,
) -> list[str]:
    """What was found and is not usual, a line each."""
    notes = []
    if asked.encoding is None and not str(dialect.encoding).startswith("utf-8"):
        why = "" if str(dialect.encoding).startswith("utf") else ", as it is not UTF-8"
        notes.append(f"{name} is read as {dialect.encoding}{why}; `encoding` names another")
    if asked.decimal is None and dialect.decimal == ",":
        notes.append(f"{name} has decimal commas, as in 1,5; `decimal` . reads points")
    if asked.comment is None and comment:
        count = sum(line.lstrip().startswith(comment) for line in lines)
        notes.append(
            f"{name}: lines that begin with {comment} are passed over, {count} at its head; "
            f"`comment` names another mark"
        )
    if before:
        shown = show(" ".join(filter(None, before[0].values)))
        lines_before = f"the {len(before)} lines" if len(before) > 1 else "the line"
        notes.append(f"{name}: {lines_before} above the table, {shown}, passed over")
    return notes
