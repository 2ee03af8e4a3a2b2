"""Spreadsheets, JSON and Arrow files in; JSON and Arrow files out."""

import datetime as dt
import gzip
import json
import sys

import pyarrow as pa
import pyarrow.feather
import pytest

from caudal.data import TableWriter
from caudal.data.table.dialect import Dialect
from caudal.data.table.tables import finds_table, open_table
from caudal.errors import InputError
from sheets import write_xlsx

DAY, TIME = dt.date(2020, 2, 29), dt.datetime(2020, 2, 29, 12)


def read(path, **dialect):
    table = open_table(str(path), dialect=Dialect(**dialect))
    return pa.concat_tables(chunk.table for chunk in table.chunks(table.names))


def test_a_sheet(tmp_path):
    pytest.importorskip("python_calamine")
    rows = [["n", "x", "ok", "day", "word", "mixed", None], [1, 1.5, True, TIME, "a", "-"]]
    rows += [[2, None, False, None, "NA", 3], [3, 2, True, TIME, "-", 4.5]]
    write_xlsx(tmp_path / "t.xlsx", data=rows, more=[["y"], [1]])
    table = read(tmp_path / "t.xlsx")
    assert table.to_pydict() == {
        "n": [1, 2, 3],
        "x": [1.5, None, 2.0],
        "ok": [True, False, True],
        "day": [TIME, None, TIME],
        "word": ["a", None, "-"],
        "mixed": [None, 3.0, 4.5],
    }
    assert pa.types.is_timestamp(table.schema.field("day").type)
    notes = open_table(str(tmp_path / "t.xlsx")).notes
    assert "the first of 2 sheets, 'data', is read" in notes[0]
    assert "'-' in 'mixed' (1)" in notes[1]
    assert read(tmp_path / "t.xlsx", na=("-",))["word"].to_pylist() == ["a", "NA", None]


def test_a_sheet_with_titles_and_days(tmp_path):
    pytest.importorskip("python_calamine")
    rows = [["Sales of 2020"], [], [None, "day", "x", "x"], [0, DAY, 1, 2], [1, DAY, 3, 4]]
    write_xlsx(tmp_path / "t.xlsx", empty=[], data=[*rows, [], ["Source: us"]])
    table = open_table(str(tmp_path / "t.xlsx"))
    assert table.names == ["unnamed_0", "day", "x", "x_2"]
    assert table.headers == ("", "day", "x", "x")
    assert table.n_rows == 2
    said = "; ".join(table.notes)
    assert "1 row above the table passed over" in said
    assert "1 row below the table passed over" in said


def test_sheets_need_their_reader(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    write_xlsx(tmp_path / "t.xlsx", data=[["x"], [1]])
    with pytest.raises(InputError, match=r"pip install 'caudal\[excel\]', or save the table as"):
        read(tmp_path / "t.xlsx")


RECORDS = [{"n": 1, "w": "a"}, {"n": None, "w": "b"}, {"w": "c", "more": 0.5}]
EXPECTED = {"n": [1, None, None], "w": ["a", "b", "c"], "more": [None, None, 0.5]}
JSON = {
    "lines": ("t.jsonl", "\n".join(map(json.dumps, RECORDS)), EXPECTED),
    "packed lines": ("t.ndjson.gz", "\n".join(map(json.dumps, RECORDS)), EXPECTED),
    "lines that are called otherwise": ("t.json", "\n".join(map(json.dumps, RECORDS)), EXPECTED),
    "a list": ("t.json", json.dumps(RECORDS, indent=2), EXPECTED),
    "a list and remarks": ("t.json", json.dumps({"of": 2020, "rows": RECORDS}), EXPECTED),
    "columns": ("t.json", '{"n": [1, 2],\n "w": ["a", "b"]}', {"n": [1, 2], "w": ["a", "b"]}),
    "one record": ("t.jsonl", '{"n": 1}', {"n": [1]}),
    "several types": ("t.jsonl", '{"n": 1}\n{"n": "a"}\n', {"n": ["1", "a"]}),
}


@pytest.mark.parametrize("case", JSON)
def test_json(tmp_path, case):
    name, content, expected = JSON[case]
    data = content.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    assert finds_table(str(tmp_path / name))
    assert read(tmp_path / name).to_pydict() == expected


TYPED = pa.table(
    {
        "i": pa.array([1, None, 3], pa.int16()),
        "b": [True, None, False],
        "when": pa.array([TIME, None, TIME], pa.timestamp("ms", "UTC")),
        "d": pa.array(["u", None, "v"]).dictionary_encode(),
    }
)


def test_arrow_files(tmp_path):
    pa.feather.write_feather(TYPED, tmp_path / "t.feather")
    with pa.ipc.new_stream(str(tmp_path / "t.arrow"), TYPED.schema) as stream:
        stream.write_table(TYPED)
    assert read(tmp_path / "t.feather").equals(TYPED)
    assert read(tmp_path / "t.arrow").equals(TYPED)


@pytest.mark.parametrize("suffix", [".feather", ".arrow"])
def test_arrow_out(tmp_path, suffix):
    with TableWriter(tmp_path / f"t{suffix}") as writer:
        writer.write(TYPED)
        writer.write(TYPED)
    again = read(tmp_path / f"t{suffix}")
    assert again.schema == TYPED.schema
    assert again.to_pydict() == pa.concat_tables([TYPED, TYPED]).to_pydict()


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson.gz"])
def test_json_out(tmp_path, suffix):
    table = pa.table({"x": [0.1, None, float("-inf")], 'a "b"': ["ü", "\n", None]})
    with TableWriter(tmp_path / f"t{suffix}") as writer:
        writer.write(table)
        writer.write(table.slice(0, 1))
    again = read(tmp_path / f"t{suffix}")
    assert again.to_pydict() == pa.concat_tables([table, table.slice(0, 1)]).to_pydict()


def test_dates_in_json_are_text(tmp_path):
    with TableWriter(tmp_path / "t.jsonl") as writer:
        writer.write(TYPED.select(["i", "when"]))
    first = json.loads((tmp_path / "t.jsonl").read_text().splitlines()[0])
    assert first == {"i": 1, "when": "2020-02-29 12:00:00+00:00"}
