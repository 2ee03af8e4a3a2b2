"""Delimited text: .csv and its relatives, compressed or not; errors name the line."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from caudal.data.refusals import damage
from caudal.data.table.convert import NUMBER
from caudal.errors import InputError

COMPRESSED = {".gz": "gzip", ".bz2": "bz2", ".zst": "zstd", ".lz4": "lz4"}
SUFFIXES = (".csv", ".tsv", ".txt", ".data", ".dat", ".test")
NULLS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?")
_ZERO_PADDED = r"^[+-]?0\d"


def text_suffix(path: Path) -> str:
    """The suffix of a file without that of a compression."""
    return Path(path.stem).suffix if path.suffix in COMPRESSED else path.suffix


def read_text(
    path: Path, name: str, texts: Collection[str] = ()
) -> tuple[pa.Table, tuple[str, ...]]:
    """Reads a delimited file into a typed table, with notes on what was guessed.

    Spaces around values are dropped, and the tokens of `NULLS` are missing values. A column is
    int64 or double where all its values are such numbers, else string; numbers with leading zeros
    ("007") are strings. A first row that looks like data makes columns c0, c1, ...

    Args:
        path: the file.
        name: what errors call it.
        texts: columns to keep as strings even where they look like numbers.

    Raises:
        InputError: the file is empty, damaged or not UTF-8, or a row has too few or many values.
    """
    columns = _read_strings(path, name).columns
    names = [pc.utf8_trim_whitespace(column[0]).as_py() for column in columns]
    columns = [_without_nulls(column) for column in columns]
    notes: tuple[str, ...] = ()
    if _has_header(names, columns):
        columns = [column.slice(1) for column in columns]
    else:
        names = [f"c{i}" for i in range(len(columns))]
        notes = (f"{name} has no header: its columns are called c0 to {names[-1]}",)
    typed = [c if n in texts else _typed(c) for n, c in zip(names, columns, strict=True)]
    return pa.table(typed, names=names), notes


def _read_strings(path: Path, name: str) -> pa.Table:
    compression = COMPRESSED.get(path.suffix)
    with damage(name):
        with pa.input_stream(str(path), compression=compression) as stream:
            start = stream.read(1 << 16).decode("utf-8-sig", errors="replace")
        first = next((line for line in start.splitlines() if line.strip()), "")
        delimiter = _delimiter(first, path)
        strings = {f"f{i}": pa.string() for i in range(first.count(delimiter) + 1)}
        with pa.input_stream(str(path), compression=compression) as stream:
            try:
                return pa_csv.read_csv(
                    stream,
                    # With several threads, errors would not say which row is meant.
                    pa_csv.ReadOptions(
                        autogenerate_column_names=True, use_threads=False, block_size=1 << 24
                    ),
                    pa_csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                    pa_csv.ConvertOptions(column_types=strings, strings_can_be_null=False),
                )
            except pa.ArrowInvalid as error:
                raise _explain(name, str(error)) from None


def _delimiter(first: str, path: Path) -> str:
    """The delimiter that the first line has most of; on a draw, the usual one of the suffix."""
    suffix = text_suffix(path)
    candidates = "\t,;|" if suffix == ".tsv" else ",\t;|"
    most = max(candidates, key=first.count)
    is_loose = suffix not in (".csv", ".tsv") and first.count(most) == 0
    return " " if is_loose and " " in first.strip() else most


def _explain(name: str, error: str) -> InputError:
    if "mpty CSV" in error:
        return InputError(f"{name} is empty: give a table with a header and rows")
    if match := re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", error):
        line, expected, got = match.groups()
        return InputError(
            f"{name}, line {line}: {got} values where the first line has {expected}: correct "
            f"that line (quote values that hold the delimiter)"
        )
    if match := re.search(r"Row #(\d+).*UTF8", error):
        return InputError(f"{name}, line {match[1]}: not UTF-8 text: save the file as UTF-8")
    return InputError(f"{name} cannot be read as delimited text: {' '.join(error.split())[:160]}")


def _without_nulls(column: pa.ChunkedArray) -> pa.ChunkedArray:
    column = pc.utf8_trim_whitespace(column)
    missing = pc.is_in(column, value_set=pa.array(NULLS))
    return pc.if_else(missing, pa.scalar(None, pa.string()), column)


def _has_header(first: Sequence[str], columns: Sequence[pa.ChunkedArray]) -> bool:
    """Whether the first row names the columns, judged by how it differs from the rows below.

    It does not if each column of numbers has a number in the first row too, and if there are no
    columns of text, or one of them repeats its first value below.
    """
    if all(column.length() == 1 for column in columns):
        return True
    if [str(i) for i in range(len(first))] == list(first):
        return True  # how pandas writes a frame without names
    numeric = [_is_numeric(column.slice(1)) for column in columns]
    if not any(numeric):
        return True
    pairs = list(zip(first, columns, numeric, strict=True))
    if any(is_number and not re.fullmatch(NUMBER, text) for text, _, is_number in pairs):
        return True
    texts = [(text, column) for text, column, is_number in pairs if not is_number]
    again = [pc.any(pc.equal(column.slice(1), text)).as_py() for text, column in texts]
    return bool(texts) and not any(again)


def _is_numeric(column: pa.ChunkedArray) -> bool:
    return bool(pc.all(pc.match_substring_regex(column, NUMBER), min_count=1).as_py())


def _typed(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column as int64 or double where that loses nothing."""
    if column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column))])
    if not _is_numeric(column) or pc.any(pc.match_substring_regex(column, _ZERO_PADDED)).as_py():
        return column
    if pc.all(pc.match_substring_regex(column, r"^-?\d+$")).as_py():
        # 19 digits may overflow. Such numbers are identifiers and stay as they are written.
        long = pc.any(pc.greater(pc.utf8_length(column), 18)).as_py()
        return column if long else column.cast(pa.int64())
    return column.cast(pa.float64())
