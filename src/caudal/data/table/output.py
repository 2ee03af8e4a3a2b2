"""Tables into files, piece by piece, each format as a context that yields a `write`."""

import codecs
import csv
import io
import json
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from caudal.data import dtypes, temporal
from caudal.data.handles import sink_of
from caudal.data.table.arrays import Write, write_npy, write_npz
from caudal.data.table.dialect import COMPRESSED, Written, text_suffix
from caudal.data.table.text import TextFile
from caudal.data.table.values import NUMBER
from caudal.data.writing import Opener, Writer
from caudal.errors import InputError

_TEXT = {".csv": ",", ".tsv": "\t"}
_JSON = (".jsonl", ".ndjson")
_FORMULA = r"^[=+\-@\t\r]"
USUAL = Written()
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)


class TableWriter(Writer):
    """Writes tables one after the other into one file, as a context manager.

    Nothing is at `path` until the block ends well; then the whole file is. The suffix chooses the
    format: `.npy` is one matrix of numbers, `.npz` one array a column, under its name.

    Args:
        path: the file.
        written: how text is written.
        escape: whether an apostrophe stands before texts that a spreadsheet would run as formulas,
            in .csv and .tsv.

    Raises:
        InputError: at once, for an unknown suffix or a folder at `path`.
    """

    many = "rows"
    formats = (
        f"{' '.join((*_TEXT, *_JSON))} (also with {' '.join(COMPRESSED)}) .parquet .feather "
        f".arrow .npy .npz"
    )

    def __init__(self, path: str | Path, written: Written = USUAL, escape: bool = False) -> None:
        self._written, self._escape = written, escape
        super().__init__(path)
        self._schema: pa.Schema | None = None

    def _opener(self) -> Opener:
        self._refuse_folder()
        if self.path.suffix in _OTHERS:
            return _OTHERS[self.path.suffix]
        packed = COMPRESSED.get(self.path.suffix)
        suffix = text_suffix(self.path)
        if suffix in _JSON:
            return partial(write_json, compression=packed)
        if suffix not in _TEXT:
            raise self._unknown()
        delimiter = self._written.delimiter if suffix == ".csv" else _TEXT[suffix]
        written = replace(self._written, delimiter=delimiter)
        return partial(write_text, written=written, compression=packed, escape=self._escape)

    def continues(self, text: TextFile) -> bool:
        """Whether lines of that text file can go into this one as they stand; then they will.

        They can if both have the same suffix, or the delimiter is usual for this one's. Tables are
        then a column of lines, whose name is the header, and numbers to write behind them.
        """
        packed = COMPRESSED.get(self.path.suffix)
        suffix = text_suffix(self.path)
        usual = _TEXT.get(suffix)
        if usual is None or (suffix != text.suffix and usual != text.dialect.delimiter):
            return False
        self._open = partial(write_lines, text=text, compression=packed)
        return True

    def check(self, schema: pa.Schema) -> None:
        """Refuses columns that the format cannot hold, before there are rows."""
        if self.path.suffix != ".npy":
            return
        for field in schema:
            dtype = dtypes.value_type(field.type)
            if dtypes.is_text(dtype) or temporal.is_modelled(dtype):
                what = "text" if dtypes.is_text(dtype) else str(dtype)
                raise InputError(
                    f"{self.path}: column '{field.name}' is {what}, .npy holds numbers: write "
                    f".npz, .csv or .parquet"
                )

    def write(self, table: pa.Table) -> None:
        """Appends rows; each table has the columns of the first.

        Raises:
            InputError: the columns differ, or hold values that the format cannot hold.
        """
        if self._schema is not None and self._schema != table.schema:
            raise InputError(f"{self.path}: the pieces of one table must have the same columns")
        self.check(table.schema)
        self._add(table)
        self._schema = table.schema


@contextmanager
def write_text(
    path: Path, written: Written, compression: str | None, escape: bool = False
) -> Iterator[Write]:
    """Delimited text with a header; values are quoted only where they must be."""
    delimiter = written.delimiter
    with pa.output_stream(sink_of(path), compression=compression) as stream:
        begun = False

        def write(table: pa.Table) -> None:
            nonlocal begun
            if not begun:
                names = [written.headers.get(name, name) for name in table.column_names]
                names = _escaped(pa.chunked_array([names])).to_pylist() if escape else names
                stream.write(_header(names, delimiter))
                begun = True
            table = _with_decimals(_plain_table(table), written.decimals)
            if written.decimal == ",":
                table = _with_commas(table, written.decimals)
            if escape:
                columns = [_escaped(c) if dtypes.is_text(c.type) else c for c in table.columns]
                table = pa.table(columns, names=table.column_names)
            special = f'["\r\n{delimiter}]'
            texts = [c for c in table.columns if dtypes.is_text(c.type)]
            if any(pc.any(pc.match_substring_regex(c, special)).as_py() for c in texts):
                stream.write(_quoted_lines(table, delimiter, special))
                return
            options = pa_csv.WriteOptions(
                include_header=False, delimiter=delimiter, quoting_style="none"
            )
            pa_csv.write_csv(table, stream, options)

        yield write


def _escaped(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts with an apostrophe before those that a spreadsheet would run, but for numbers."""
    runs = pc.match_substring_regex(texts, _FORMULA)
    is_number = pc.match_substring_regex(texts, NUMBER)
    marked = pc.binary_join_element_wise(
        pa.scalar("'", texts.type), texts, pa.scalar("", texts.type)
    )
    return pc.if_else(pc.and_not(runs, is_number), marked, texts)


def _quoted_lines(table: pa.Table, delimiter: str, special: str) -> bytes:
    """The lines of a table; a text has quotes where it holds something `special`, and only there.

    The CSV writer has them around all texts or none.
    """
    columns = []
    for column in table.columns:
        texts = column.cast(pa.large_string())
        if dtypes.is_text(column.type):
            doubled = pc.replace_substring(texts, '"', '""')
            mark, nothing = (pa.scalar(text, pa.large_string()) for text in ('"', ""))
            inside = pc.binary_join_element_wise(mark, doubled, mark, nothing)
            texts = pc.if_else(pc.match_substring_regex(texts, special), inside, texts)
        columns.append(pc.fill_null(texts, ""))
    between = pa.scalar(delimiter, pa.large_string())
    lines = pc.binary_join_element_wise(*columns, between).to_pylist()
    return "".join(f"{line}\n" for line in lines).encode()


@contextmanager
def write_lines(path: Path, text: TextFile, compression: str | None) -> Iterator[Write]:
    """Lines of a text file with numbers behind them, written as that file is."""
    dialect, end = text.dialect, text.layout.newline
    delimiter = str(dialect.delimiter)
    encoder = codecs.getincrementalencoder(str(dialect.encoding))()
    with pa.output_stream(sink_of(path), compression=compression) as stream:
        begun = False

        def put(lines: Iterable[str]) -> None:
            joined = "".join(f"{line}\n" for line in lines).replace("\n", end)
            stream.write(encoder.encode(joined))

        def write(table: pa.Table) -> None:
            nonlocal begun
            if not begun:
                put([delimiter.join(table.column_names)])
                begun = True
            numbers = [_digits(column, text) for column in table.columns[1:]]
            columns = [table.column(0), *numbers]
            between = pa.scalar(delimiter, pa.large_string())
            put(pc.binary_join_element_wise(*columns, between).to_pylist())

        yield write


def _with_decimals(table: pa.Table, decimals: Mapping[str, int]) -> pa.Table:
    """The table with numbers as texts of so many decimals, in the columns that have them."""
    for place, name in enumerate(table.column_names):
        column = table.column(place)
        if name in decimals and pa.types.is_floating(column.type):
            texts = padded(column.combine_chunks(), decimals[name])
            table = table.set_column(place, name, texts)
    return table


def padded(numbers: pa.Array, decimals: int) -> pa.Array:
    """Numbers as texts of at least so many decimals; what has more keeps them."""
    numbers = pc.add(numbers, pa.scalar(0.0, numbers.type))  # -0 is 0
    numbers = pc.if_else(pc.is_nan(numbers), None, numbers)
    texts = numbers.cast(pa.string())
    powers = pc.fill_null(pc.match_substring(texts, "e"), False)  # of ten, as in 1e+10
    if pc.any(powers).as_py():
        rare = map(np.format_float_positional, numbers.filter(powers).to_pylist())
        texts = pc.replace_with_mask(texts, powers, pa.array(rare, pa.string()))
    point = pc.find_substring(texts, ".")  # -1 where there is none
    there = pc.subtract(pc.utf8_length(texts), pc.add(point, 1))
    there = pc.if_else(pc.less(point, 0), -1, there)
    lacking = pc.if_else(pc.is_finite(numbers), pc.subtract(decimals, there), 0)
    ends = ["0" * count for count in range(decimals + 1)] + ["." + "0" * decimals]
    zeros = pa.array(ends).take(pc.max_element_wise(lacking, 0, skip_nulls=False))
    return pc.binary_join_element_wise(texts, zeros, "")


def _with_commas(table: pa.Table, decimals: Collection[str]) -> pa.Table:
    """The table with its decimals as texts, behind a comma; those in `decimals` are texts."""
    columns = [
        pc.replace_substring(c.cast(pa.string()), ".", ",")
        if pa.types.is_floating(c.type) or name in decimals
        else c
        for name, c in zip(table.column_names, table.columns, strict=True)
    ]
    return pa.table(columns, names=table.column_names)


def _digits(numbers: pa.ChunkedArray, text: TextFile) -> pa.ChunkedArray:
    """Numbers as a text file has them, an empty text where one is missing."""
    digits = pc.fill_null(numbers.cast(pa.large_string()), "")
    if text.dialect.decimal == ",":
        digits = pc.replace_substring(digits, ".", ",")
        if text.dialect.delimiter == ",":
            digits = pc.replace_substring_regex(digits, "^(.+)$", r'"\1"')
    return digits


@contextmanager
def write_parquet(path: Path) -> Iterator[Write]:
    """Parquet, a row group for each table."""
    writer: pq.ParquetWriter | None = None
    sink = sink_of(path)

    def write(table: pa.Table) -> None:
        nonlocal writer
        writer = writer or pq.ParquetWriter(sink, table.schema)
        writer.write_table(table)

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()
        sink.close()


@contextmanager
def write_arrow(path: Path) -> Iterator[Write]:
    """An Arrow file, which is what Feather is; a batch for each table."""
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=True)
    known: dict[str, pa.Array] = {}
    with ExitStack() as stack:
        sink = stack.enter_context(sink_of(path))
        writer: Any = None

        def write(table: pa.Table) -> None:
            nonlocal writer
            for i, field in enumerate(table.schema):
                if pa.types.is_dictionary(field.type):
                    table = table.set_column(i, field, _coded_on(table.column(i), known, field))
            opened = writer or pa.ipc.new_file(sink, table.schema, options=options)
            writer = writer or stack.enter_context(opened)
            writer.write_table(table)

        yield write


def _coded_on(column: pa.ChunkedArray, known: dict[str, pa.Array], field: pa.Field) -> pa.Array:
    """Categories by a list that grows from table to table, as a file has one list for all."""
    values = column.cast(field.type.value_type).combine_chunks()
    listed = [chunk.dictionary for chunk in column.chunks]
    listed = [known[field.name], *listed] if field.name in known else listed
    known[field.name] = levels = pc.unique(pa.chunked_array(listed, field.type.value_type))
    indices = pc.index_in(values, value_set=levels).cast(field.type.index_type)
    return pa.DictionaryArray.from_arrays(indices, levels, ordered=field.type.ordered)


@contextmanager
def write_json(path: Path, compression: str | None) -> Iterator[Write]:
    """JSON lines, a record for each row; dates and times are text."""
    with pa.output_stream(sink_of(path), compression=compression) as stream:

        def write(table: pa.Table) -> None:
            keys = [json.dumps(name, ensure_ascii=False) for name in table.column_names]
            form = ", ".join(f"{key.replace('%', '%%')}: %s" for key in keys)
            cells = zip(*map(_as_json, table.columns), strict=True)
            lines = "".join([f"{{{form}}}\n" % row for row in cells])
            stream.write(lines.encode())

        yield write


def _as_json(column: pa.ChunkedArray) -> list[str]:
    """The values of a column as JSON, each different one of texts and dates written once."""
    if dtypes.is_number(column.type) or pa.types.is_nested(column.type):
        return [_json(value) for value in column.to_pylist()]
    coded = column.combine_chunks()
    if not pa.types.is_dictionary(coded.type):
        coded = coded.dictionary_encode()
    texts = [_json(value) for value in coded.dictionary.to_pylist()]
    return ["null" if i is None else texts[i] for i in coded.indices.to_pylist()]


def _json(value: Any) -> str:
    """A value as JSON; an infinite number as one that is too large for a double."""
    if isinstance(value, float):
        if math.isfinite(value):
            return repr(value)
        return "null" if math.isnan(value) else "1e999" if value > 0 else "-1e999"
    return _ENCODER.encode(value)


_OTHERS: dict[str, Opener] = {
    ".parquet": write_parquet,
    ".feather": write_arrow,
    ".arrow": write_arrow,
    ".npy": write_npy,
    ".npz": write_npz,
}


def _header(names: list[str], delimiter: str) -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerow(names)
    return text.getvalue().encode()


def _plain_table(table: pa.Table) -> pa.Table:
    # The CSV writer has no text form for dictionaries, half floats and the like.
    return pa.table([_plain_column(c) for c in table.columns], names=table.column_names)


def _plain_column(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_decimal(column.type):
        return column
    column = dtypes.plain(column)
    return temporal.as_text(column) if temporal.is_modelled(column.type) else column
