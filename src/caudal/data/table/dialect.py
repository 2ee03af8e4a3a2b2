"""How a text file writes a table: what the user says of it, and the rest detected."""

import codecs
import csv
import io
import re
from bisect import bisect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pyarrow as pa

from caudal.data.handles import source_of
from caudal.data.refusals import check_texts, damage
from caudal.data.table.quoting import (
    BLANK,
    DOUBLED,
    OTHERS,
    WITHOUT,
    Quoting,
    doubtful,
    joined,
    plain,
    plain_lines,
)
from caudal.data.unpacked import Counted
from caudal.errors import InputError
from caudal.fields import check_value

COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
SUFFIXES = (".csv", ".tsv", ".txt", ".data", ".dat", ".test", ".tab")
SAMPLE = 1 << 19  # bytes that are looked at
BLOCK = 1 << 24  # bytes that are read at a time
_CUT = 50  # lines of a row that may go on behind those that are looked at
_NAMES = {"tab": "\t", "\\t": "\t", "space": BLANK, "blank": BLANK}
DELIMITER_LINE = r'"?sep=."?'
"""The first line of some files that are made for Excel."""
_COMMENTS = ("#", "%")
_BLANKS = re.compile(r'"((?:[^"]|"")*)"|([^\s"]\S*)')
_COMMA = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+),\d+")
_THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2}(,\d{3})+")
_POINT = re.compile(r"[+-]?\d*\.\d+")


@dataclass(frozen=True)
class Written:
    """How samples are written as text, namely as the data were.

    Attributes:
        headers: what the data call columns that have no name there, or one that is there twice.
        delimiter: between the values of a .csv file, if not a comma.
        decimal: before the decimals.
        decimals: how many all numbers of a column have, zeros at the end too, where they are as
            many in each; a number that has more keeps them.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    delimiter: str = ","
    decimal: str = "."
    decimals: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Dialect:
    """How text files write tables."""

    encoding: str | None = None
    """Encoding of text files, such as latin-1 or utf-16; detected if not given."""
    delimiter: str | None = None
    """Character between the values of text files; tab is a tab, and space any number of blanks.
    Detected if not given."""
    decimal: Literal[".", ","] | None = None
    """Point or comma before the decimals of text files; detected if not given."""
    comment: str | None = None
    """How the lines of text files begin that are no rows; # and % are found above a header."""
    na: tuple[str, ...] = ()
    """Marks of missing values in text files and sheets, in place of the usual ones (NA, n/a, null,
    None, ?, ...). Empty cells are missing in any case."""

    def __post_init__(self) -> None:
        for name in ("encoding", "delimiter", "comment"):
            check_value(name, getattr(self, name), str | None)
        check_value("decimal", self.decimal, Literal[".", ","] | None)
        check_texts("na", self.na)
        delimiter = _NAMES.get(self.delimiter or "", self.delimiter)
        object.__setattr__(self, "delimiter", delimiter)
        is_one = isinstance(delimiter, str) and len(delimiter) == 1
        is_known = is_one and "\0" < str(delimiter) < "\x7f" and str(delimiter) not in '"\r\n'
        if delimiter is not None and not is_known:
            raise InputError(
                f"`delimiter` {delimiter!r}: give one character, such as ; or |, or tab, or space"
            )
        if self.encoding is not None and not _is_encoding(self.encoding):
            raise InputError(
                f"`encoding` {self.encoding}: unknown; utf-8, latin-1, cp1252 are some"
            )
        object.__setattr__(self, "na", tuple(self.na))
        if self.comment == "":
            raise InputError("`comment`: give the characters that begin such lines, such as #")

    @classmethod
    def of(cls, options: Any) -> "Dialect":
        """The dialect among some options, which may have further fields."""
        return cls(**{name: getattr(options, name) for name in cls.__dataclass_fields__})

    def over(self, other: "Dialect") -> "Dialect":
        """This dialect, with what it leaves open taken from the other one."""
        open_ = {k: getattr(other, k) for k, v in vars(self).items() if v in (None, ())}
        return replace(self, **open_)


def _is_encoding(name: str) -> bool:
    try:
        return codecs.lookup(name)._is_text_encoding
    except LookupError:
        return False


def text_suffix(path: Path) -> str:
    """The suffix of a file without that of a compression."""
    return Path(path.stem).suffix if path.suffix in COMPRESSED else path.suffix


def stream_of(path: Path, name: str) -> Any:
    """The bytes of a file, without its compression.

    Reading raises `InputError` where a compressed file unpacks to too much.
    """
    stream = pa.input_stream(source_of(path), compression=COMPRESSED.get(path.suffix))
    return Counted(path, name, stream) if path.suffix in COMPRESSED else stream


def read_sample(path: Path, name: str, encoding: str) -> tuple[str, str, bool]:
    """The first lines of a text file, the end of a line, and whether these are all lines.

    Raises:
        InputError: the file is damaged or empty, or is not text of that encoding.
    """
    size = SAMPLE
    while True:
        with damage(name), stream_of(path, name) as stream:
            raw = stream.read(size)
        whole = len(raw) < size
        try:
            text = codecs.getincrementaldecoder(encoding)().decode(raw, final=whole)
        except UnicodeDecodeError as error:
            raise wrong_encoding(name, 1 + raw[: error.start].count(b"\n"), encoding) from None
        newline = next((end for end in ("\r\n", "\n", "\r") if end in text), "\n")
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        if not text.strip() and whole:
            raise InputError(f"{name} is empty: give a table with a header and rows")
        if whole:
            return text.removesuffix("\n"), newline, True
        if text.count("\n") > 1:
            return text[: text.rindex("\n")], newline, False
        size *= 8


def decoded(path: Path, name: str, encoding: str) -> Iterator[tuple[bytes, bool]]:
    """The text block by block as UTF-8 with plain line ends, and whether that was the last of it.

    Raises:
        InputError: the file is damaged, or not of that encoding.
    """
    decoder = io.IncrementalNewlineDecoder(
        codecs.getincrementaldecoder(encoding)(), translate=True
    )
    line = 1
    with damage(name), stream_of(path, name) as stream:
        while raw := stream.read(BLOCK):
            try:
                text = decoder.decode(raw)
            except UnicodeDecodeError as error:
                line += error.object[: error.start].count(b"\n")
                raise wrong_encoding(name, line, encoding) from None
            line += text.count("\n")
            yield text.encode(errors="replace"), False
        try:
            text = decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            raise wrong_encoding(name, line, encoding) from None
        yield f"{text}\n".encode(), True


def wrong_encoding(name: str, line: int, encoding: str) -> InputError:
    """The error for bytes that an encoding does not have."""
    return InputError(f"{name}, line {line}: not {encoding} text: `encoding` names another")


def find_comment(lines: Iterable[str]) -> str | None:
    """The mark at the head of the first lines, if others follow that have none."""
    written = [line.lstrip() for line in lines if line.strip()]
    for mark in _COMMENTS:
        if written and written[0].startswith(mark):
            return mark if any(not line.startswith(mark) for line in written) else None
    return None


def find_quoting(lines: Sequence[str], delimiter: str, whole: bool = True) -> Quoting:
    """How quotes are written: as RFC 4180 has them, unless the lines make better rows otherwise.

    Args:
        lines: of text.
        delimiter: between the values.
        whole: whether these are all lines; else the last row may go on.
    """
    data = joined(lines)
    if delimiter == BLANK or not doubtful(delimiter).search(data):
        return DOUBLED
    good = {way: _goodness(data, delimiter, way, whole) for way in (DOUBLED, *OTHERS)}
    other = max(OTHERS, key=lambda way: good[way][0])
    best = other if good[other] > good[DOUBLED] else DOUBLED  # of equal lines more rows: none hide
    if delimiter == "\t":
        good |= {way: _goodness(data, delimiter, way, whole) for way in WITHOUT}
        without = max(WITHOUT, key=lambda way: good[way][0])
        best = without if good[without] > good[best] else best
    return best


def _goodness(data: bytes, delimiter: str, quoting: Quoting, whole: bool) -> tuple[int, int]:
    """How many lines, and rows, have the commonest width, and quotes where they should be."""
    read = plain(data, delimiter, quoting)
    ends = [match.start() for match in re.finditer(b"\n", data)]
    odd = {bisect(ends, offset) for offset in (*read.broken, *read.stray)}
    begun = 0
    if read.open is not None:
        odd.add(first := bisect(ends, read.open))
        begun = len(ends) - first
    rows = rows_in(read.data.decode().split("\n")[:-1], delimiter)
    width = _commonest(rows)[0]
    spans = [range(row.first, row.end) for row in rows if len(row.values) == width]
    good = [len(span) for span in spans if odd.isdisjoint(span)]
    is_cut = not whole and begun <= _CUT
    return sum(good) + begun * is_cut, len(good)


def find_delimiter(lines: Sequence[str], suffix: str) -> str:
    """The delimiter that gives most lines the same number of values, and more than one.

    Blanks are one in files that are neither `.csv` nor `.tsv`, where they make more columns.
    """
    usual = "\t;|," if suffix not in (".tsv", ".tab") else "\t,;|"
    shares = {mark: _evenness(lines, mark) for mark in usual}
    best = max(usual, key=lambda mark: shares[mark][0])
    if suffix not in (".csv", ".tsv"):
        share, width = _evenness(lines, BLANK)
        if share > 0.9 and width > shares[best][1]:
            return BLANK
    return best if shares[best][0] else "\t" if suffix == ".tsv" else ","


def _evenness(lines: Sequence[str], delimiter: str) -> tuple[float, int]:
    """The share of the rows that have the commonest number of values, and that number."""
    rows = rows_in(lines, delimiter, find_quoting(lines, delimiter))
    width, count = _commonest(rows)
    return (count / len(rows), width) if width > 1 else (0.0, 1)


def _commonest(rows: Sequence["Row"]) -> tuple[int, int]:
    """The number of values that most rows have, and how many these are."""
    widths = Counter(len(row.values) for row in rows)
    return max(widths.items(), key=lambda item: (item[1], item[0]), default=(1, 0))


class Row(NamedTuple):
    """Values with the numbers, from 0, of the line they begin in and of the line behind them."""

    values: list[str]
    first: int
    end: int


def rows_in(lines: Iterable[str], delimiter: str, quoting: Quoting = DOUBLED) -> list[Row]:
    """The rows of lines of text that are not empty, up to a quoted value that does not end."""
    if delimiter == BLANK:
        each = enumerate(map(split_blanks, lines))
        return [Row(values, i, i + 1) for i, values in each if values]
    rows: list[Row] = []
    lines = lines if quoting == DOUBLED else plain_lines(lines, delimiter, quoting)
    reader = reader_of(lines, delimiter)
    first = 0
    with suppress(csv.Error):
        for values in reader:
            if len(values) > 1 or "".join(values).strip():
                rows.append(Row([value.strip() for value in values], first, reader.line_num))
            first = reader.line_num
    return rows


def split_blanks(line: str) -> list[str]:
    """The values of a line that stand between blanks, some of them perhaps in quotes."""
    values = _BLANKS.findall(line)
    return [quoted.replace('""', '"') if quoted else plain for quoted, plain in values]


def reader_of(lines: Iterable[str], delimiter: str) -> Any:
    """Reads lines as RFC 4180 has them; blanks may stand before a quoted value."""
    lines = (f"{line}\n" for line in lines)
    return csv.reader(lines, delimiter=delimiter, skipinitialspace=True)


def find_decimal(values: Iterable[str]) -> Literal[".", ","]:
    """A comma, if more numbers can only be read with one than with a point."""
    commas = points = 0
    for value in values:
        if _COMMA.fullmatch(value):
            commas += not _THOUSANDS.fullmatch(value)
        elif _POINT.fullmatch(value):
            points += 1
    return "," if commas > points else "."
