"""Tables in JSON, as lines or as one list of records, and in Arrow's own files."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.json

from caudal.data.handles import mapped
from caudal.data.refusals import damage
from caudal.data.table.dialect import stream_of
from caudal.data.table.values import as_text
from caudal.errors import InputError, one_line

JSON = (".jsonl", ".ndjson", ".json")
ARROW = (".feather", ".arrow")


def read_json(path: Path, name: str) -> pa.Table:
    """Reads records: one a line, or a list of them, or a list of values for each column.

    Texts that are dates or times are read as such. A column of several types becomes text.

    Raises:
        InputError: the file is damaged, or holds no table.
    """
    try:
        with damage(name), stream_of(path, name) as stream:
            content = stream.read()
        if (
            not content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")
            and b"\n" in content.strip()
        ):
            table = pa.json.read_json(pa.BufferReader(content))
            table.validate(full=True)  # that it is UTF-8
            if table.num_rows > 1:
                return table
    except (pa.ArrowInvalid, UnicodeDecodeError):
        pass  # not a record a line, or a column of several types
    with damage(name):
        return _from_records(_records(content.decode("utf-8-sig", errors="replace"), name), name)


def _records(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except RecursionError:
        raise InputError(f"{name} holds no table: its lists are nested too deep") from None
    except json.JSONDecodeError as error:
        if error.msg != "Extra data":
            raise _no_json(name, error.lineno, error) from None
    records = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            records += [json.loads(line)] if line.strip() else []
        except json.JSONDecodeError as error:
            raise _no_json(name, number, error) from None
    return records


def _no_json(name: str, line: int, error: json.JSONDecodeError) -> InputError:
    return InputError(
        f"{name}, line {line}: no JSON ({error.msg}): give a record a line, or a list"
    )


def _from_records(data: Any, name: str) -> pa.Table:
    if isinstance(data, dict):
        lists = [value for value in data.values() if isinstance(value, list)]
        if len(lists) == 1 and lists[0] and isinstance(lists[0][0], dict):
            data = lists[0]  # records with remarks beside them
        elif len(lists) == len(data) and len({len(values) for values in lists}) == 1:
            return pa.table({key: _array(values) for key, values in data.items()})
        else:
            data = [data]
    if not isinstance(data, list) or not all(isinstance(record, dict) for record in data):
        raise InputError(
            f'{name} holds no table: give a record such as {{"age": 31}} a line, or a list of them'
        )
    names = dict.fromkeys(key for record in data for key in record)
    return pa.table({key: _array([record.get(key) for record in data]) for key in names})


def _array(values: list[Any]) -> pa.Array | pa.ChunkedArray:
    """Values of one type; of several, their texts."""
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return as_text(values)[0]


def read_arrow(path: Path, name: str) -> pa.Table:
    """Reads a Feather file, or an Arrow file or stream.

    Raises:
        InputError: the file is damaged.
    """
    try:
        table = pa.feather.read_table(mapped(path)).replace_schema_metadata()
        table.validate(full=True)  # offsets that lead elsewhere would end the process
        return table
    except (pa.ArrowException, OSError) as error:
        reason = one_line(error, 160)
    try:
        with mapped(path) as source, pa.ipc.open_stream(source) as stream:
            table = stream.read_all().replace_schema_metadata()
            table.validate(full=True)
            return table
    except (pa.ArrowException, OSError):
        raise InputError(
            f"{name} cannot be read, it may be damaged or cut short: {reason}"
        ) from None
