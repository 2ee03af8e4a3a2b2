"""The rows of a text file, block by block: as they stand in it, and as values."""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from caudal.data.table.dialect import decoded, reader_of, split_blanks
from caudal.data.table.layout import Layout
from caudal.data.table.quoting import BLANK, DOUBLED, joined, plain
from caudal.data.table.values import NUMBER
from caudal.errors import InputError

_TOTAL = (
    r"(?i)^((grand|sub)?[ -]?totals?|sum|summe|gesamt(summe)?|totale?|total g[eé]n[eé]ral|somme|"
    r"suma|totaal|totalt|итого|всего|合计)( *[:.])?$"
)
"""How a row of totals begins, below the rows that it sums up."""
_NEWLINE, _QUOTE, _SPACE = ord("\n"), ord('"'), ord(" ")


class Block(NamedTuple):
    """Successive rows.

    Attributes:
        texts: the lines (N,), of large strings; values that a row lacks stand in it as empty ones.
            None are there where they were not asked for.
        values: N rows of strings, a column for each of the table.
        short: int64 (N,), the number of the line where the row lacks values, else 0.
        foot: how many rows below the table were left out.
    """

    texts: pa.ChunkedArray
    values: pa.Table
    short: np.ndarray
    foot: int = 0

    def slice(self, first: int, end: int) -> "Block":
        """Some of the rows."""
        texts, values = (part.slice(first, end - first) for part in self[:2])
        return Block(texts, values, self.short[first:end])


def blocks(path: Path, name: str, layout: Layout, lines: bool) -> Iterator[Block]:
    """The rows of a text file below its header, with their lines or without.

    Empty lines and comments are passed over, and so is what stands below the table: rows without
    any value, single words under three columns or more, and a last row of totals.

    Raises:
        InputError: the file is damaged or of another encoding, a row has more values than there
            are columns, or a quoted value does not end; with the number of the line.
    """
    rest, line, skip = b"", 1, layout.skip
    foot, kept = None, 0
    totals: set[str] = set()  # words such as total that rows of the table begin with
    for data, final in decoded(path, name, str(layout.dialect.encoding)):
        data, begin = rest + data, 0
        while skip and (end := data.find(b"\n", begin) + 1):
            skip, begin, line = skip - 1, end, line + 1
        rest = data = data[begin:]
        if skip:
            continue
        block, used = _Reader(name, layout, line, final, lines).read(data)
        line += data.count(b"\n", 0, used)
        rest = data[used:]
        if foot is not None:
            block = _appended(foot, block)
        block, foot, kept = _without_foot(block)
        totals |= _totals(block)
        if len(block.short):
            yield block
    if foot is not None and len(foot.short):
        if _totals(foot.slice(max(kept - 1, 0), kept)).isdisjoint(totals):
            kept = 0
        yield foot.slice(0, kept)._replace(foot=len(foot.short) - kept)


class _Reader:
    """Reads one block of text, whose first line has the number `line`."""

    def __init__(self, name: str, layout: Layout, line: int, final: bool, lines: bool) -> None:
        self.name, self.layout, self.line, self.final = name, layout, line, final
        self.lines, self.quoting = lines, layout.quoting
        self.delimiter, self.comment = str(layout.dialect.delimiter), layout.dialect.comment

    def read(self, data: bytes) -> tuple[Block, int]:
        """The rows in `data`, and how many bytes of it they take up."""
        plain_data, ends = self._ends(data)
        if ends is not None and not (self.final and data[ends[-1] if len(ends) else 0 :].strip()):
            used = int(ends[-1]) if len(ends) else 0
            texts = self._rows(data, ends)
            part = plain_data if texts is None else self._plain(_joined(texts))
            rows = len(ends) if texts is None else len(texts)
            if (values := self._fast(part, rows)) is not None:
                if texts is None and self.lines:
                    texts = _cut(data, ends)
                return Block(_lines(texts), values, np.zeros(rows, np.int64)), used
        return self._slow(data)

    def _ends(self, data: bytes) -> tuple[bytes, np.ndarray | None]:
        """The rows that end as RFC 4180 has them, and the offsets behind them in `data`.

        The offsets are None where `record_ends` has none.
        """
        if self.quoting == DOUBLED:
            ends = record_ends(data, self.delimiter)
            return data[: ends[-1]] if ends is not None and len(ends) else b"", ends
        if self.comment:
            return b"", None  # comments have no escapes
        text = self._plain(data)
        ends = record_ends(text, self.delimiter)
        if ends is None:
            return b"", None
        if not self.final and data.endswith(b"\\\n"):
            ends = ends[ends < len(text)]  # what follows may be the rest of the last value
        in_data = _line_ends(data)[np.isin(_line_ends(text), ends)]
        return text[: ends[-1]] if len(ends) else b"", in_data

    def _plain(self, data: bytes) -> bytes:
        """Text as RFC 4180 has it.

        Raises:
            InputError: it has a quoted value with more text behind the closing quote.
        """
        if self.quoting == DOUBLED:
            return data
        read = plain(data, self.delimiter, self.quoting)
        if read.broken:
            raise self._open_quote(data.count(b"\n", 0, read.broken[0]))
        return read.data

    def _rows(self, data: bytes, ends: np.ndarray) -> pa.LargeStringArray | None:
        """The texts without empty lines and comments; None if there are no such lines."""
        first = np.frombuffer(data, np.uint8)[np.concatenate([[0], ends])[: len(ends)]]
        doubtful = first <= _SPACE
        if self.comment:
            doubtful |= first == self.comment.encode()[0]
        if not doubtful.any():
            return None
        texts = _cut(data, ends)
        is_row = pc.not_equal(pc.utf8_trim_whitespace(texts), "")
        if self.comment:
            is_comment = pc.starts_with(pc.utf8_ltrim_whitespace(texts), self.comment)
            is_row = pc.and_not(is_row, is_comment)
        return texts.filter(is_row)

    def _fast(self, data: bytes, rows: int) -> pa.Table | None:
        """The values of rows that all are as they should be, else None."""
        names = [f"f{i}" for i in range(self.layout.width)]
        delimiter = self.delimiter
        if delimiter == BLANK:
            if b'"' in data:
                return None
            data = re.sub(rb"(?m)^\t|\t$", b"", re.sub(rb"[ \t]+", b"\t", data))
            delimiter = "\t"
        if rows == 0:
            return pa.table([pa.array([], pa.string()) for _ in names], names=names)
        try:
            table = pa_csv.read_csv(
                pa.BufferReader(data),
                pa_csv.ReadOptions(
                    autogenerate_column_names=True, use_threads=False, block_size=len(data) + 1
                ),
                pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
                ),
            )
        except pa.ArrowInvalid:
            return None
        return table if table.shape == (rows, self.layout.width) else None

    def _slow(self, data: bytes) -> tuple[Block, int]:
        """The records where quotes are odd, or rows have too few values or too many empty ones."""
        lines = data.decode().split("\n")[:-1]
        spans = list(self._spans(lines))
        used = len(data)
        if not self.final:  # the last row may go on
            end = spans.pop()[1] if spans else 0
            used = sum(len(line.encode()) + 1 for line in lines[:end])
        texts, rows, short = [], [], []
        for values, first, end in spans:
            text = "\n".join(lines[first:end])
            if not values or not text.strip():
                continue
            lacking = self.layout.width - len(values)
            if lacking < 0 and any(value.strip() for value in values[lacking:]):
                raise self._too_many(self.line + first, len(values))
            short.append(self.line + first if lacking > 0 else 0)
            texts.append(self._mended(text, lacking))
            rows.append((values + [""] * lacking)[: self.layout.width])
        columns = list(zip(*rows, strict=True)) or [()] * self.layout.width
        table = pa.table(
            [pa.array(column, pa.string()) for column in columns],
            names=[f"f{i}" for i in range(self.layout.width)],
        )
        written = pa.array(texts, pa.large_string())
        return Block(_lines(written), table, np.array(short, np.int64)), used

    def _spans(self, lines: Sequence[str]) -> Iterator[tuple[list[str], int, int]]:
        """Rows of values, and the lines from `first` to `end` in which each stands."""
        mark = self.comment
        rows = ["" if mark and line.lstrip().startswith(mark) else line for line in lines]
        if self.delimiter == BLANK:
            yield from ((split_blanks(line), i, i + 1) for i, line in enumerate(rows))
            return
        if self.quoting != DOUBLED:
            rows = self._plain(joined(rows)).decode().split("\n")[:-1]
        reader = reader_of(rows, self.delimiter)
        first = 0
        try:
            for values in reader:
                end = reader.line_num
                if end - first > 1:
                    self._check_closed(rows, first, end)
                yield values, first, end
                first = end
        except csv.Error:
            raise self._open_quote(first) from None

    def _check_closed(self, rows: Sequence[str], first: int, end: int) -> None:
        """Refuses a row of several lines unless its quoted values end where they should."""
        read = plain(joined(rows[first:end]), self.delimiter, DOUBLED)
        is_open = read.open is not None and self.final and end == len(rows)
        if read.broken or is_open:
            raise self._open_quote(first)

    def _open_quote(self, first: int) -> InputError:
        return InputError(
            f"{self.name}, line {self.line + first}: a quote opens a value that does not end: "
            f"close it, or double the quote if it is part of the value"
        )

    def _too_many(self, line: int, count: int) -> InputError:
        columns = "column" if self.layout.width == 1 else "columns"
        return InputError(
            f"{self.name}, line {line}: {count} values for {self.layout.width} {columns}: quote "
            f"values that hold the delimiter '{self.delimiter}', or name another `delimiter`, or "
            f"the `comment` that begins lines to pass over"
        )

    def _mended(self, text: str, lacking: int) -> str:
        """The line with as many values as there are columns."""
        if lacking >= 0:
            empty = f'{self.delimiter}""' if self.delimiter == BLANK else self.delimiter
            return text + empty * lacking
        for _ in range(-lacking):
            text = text.rstrip(" ").removesuffix('""').rstrip(" ").removesuffix(self.delimiter)
        return text


def record_ends(data: bytes, delimiter: str) -> np.ndarray | None:
    """The offsets behind the rows of a text; None where quotes are not as RFC 4180 has them."""
    text = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(text == _NEWLINE)
    quotes = np.flatnonzero(text == _QUOTE)
    if len(quotes):
        allowed = [_NEWLINE, _QUOTE, *([ord(delimiter)] if delimiter.isascii() else [])]
        before, behind = quotes[::2] - 1, quotes[1::2] + 1
        beside = np.concatenate([text[before[before >= 0]], text[behind[behind < len(text)]]])
        if not np.isin(beside, allowed).all():
            return None
        ends = ends[np.searchsorted(quotes, ends) % 2 == 0]
    return ends + 1


def _line_ends(data: bytes) -> np.ndarray:
    """The offsets behind the lines of a text."""
    return np.flatnonzero(np.frombuffer(data, np.uint8) == _NEWLINE) + 1


def _cut(data: bytes, ends: np.ndarray) -> pa.LargeStringArray:
    """The rows of a text that end at these offsets, without the ends of their lines."""
    text = np.frombuffer(data, np.uint8)[: ends[-1] if len(ends) else 0]
    kept = np.ones(len(text), bool)
    kept[ends - 1] = False
    offsets = np.concatenate([[0], ends - np.arange(1, len(ends) + 1)]).astype(np.int64)
    buffers = [pa.py_buffer(offsets), pa.py_buffer(text[kept])]
    return pa.LargeStringArray.from_buffers(len(ends), *buffers)


def _lines(texts: pa.LargeStringArray | None) -> pa.ChunkedArray:
    return pa.chunked_array([] if texts is None else [texts], pa.large_string())


def _joined(texts: pa.LargeStringArray) -> bytes:
    return "".join(f"{text}\n" for text in texts.to_pylist()).encode()


def _appended(first: Block, second: Block) -> Block:
    texts = pa.chunked_array([*first.texts.chunks, *second.texts.chunks], pa.large_string())
    short = np.concatenate([first.short, second.short])
    return Block(texts, pa.concat_tables([first.values, second.values]), short)


def _without_foot(block: Block) -> tuple[Block, Block, int]:
    """The block without the rows at its end that may stand below the table, and these.

    Last comes at which of these a row of totals stands, from 1; 0 if none does.
    """
    end = last = _above_foot(block, len(block.short))
    if end and block.values.num_columns > 1 and _totals(block.slice(end - 1, end)):
        end = _above_foot(block, end - 1)
    return block.slice(0, end), block.slice(end, len(block.short)), last - end


def _above_foot(block: Block, end: int) -> int:
    """How many of the first `end` rows stand above the remarks and empty rows at their end."""
    while end and _is_foot([v.strip() for v in _row(block, end - 1)], block.short[end - 1] > 0):
        end -= 1
    return end


def _totals(block: Block) -> set[str]:
    """The words such as total with which rows begin."""
    first = pc.utf8_trim_whitespace(block.values.column(0))
    return set(first.filter(pc.match_substring_regex(first, _TOTAL)).to_pylist())


def _row(block: Block, index: int) -> list[str]:
    return [column[index].as_py() for column in block.values.columns]


def _is_foot(values: Sequence[str], lacks: bool) -> bool:
    """Whether a row has no values, or is a remark in a table of three columns or more."""
    filled = [value for value in values if value]
    remark = lacks and len(values) > 2 and len(filled) == 1 and bool(values[0])
    return not filled or (remark and not re.fullmatch(NUMBER, values[0]))
