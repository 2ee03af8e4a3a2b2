"""Bad input ends in one line that says what, where and what to do."""

import gzip
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from caudal.data import open_data
from caudal.errors import InputError

GOOD = "a,b\n" + "".join(f"{i}.5,{i % 9}.25\n" for i in range(60))


def parquet(table):
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def npz():
    sink = io.BytesIO()
    np.savez_compressed(sink, a=np.random.default_rng(0).random((99, 3)))
    return sink.getvalue()


PARQUET = parquet(pa.table({"a": np.arange(999.0)}))
NESTED = parquet(pa.table({"a": [1.5, 2.5], "l": [[1], [2]]}))
NULLS = parquet(pa.table({"a": [1.5, 2.5], "n": pa.array([None, None], pa.float64())}))
TWICE = parquet(pa.table([[1.5, 2.5], [1, 2]], names=["a", "a"]))

# name of the file: content, options, what the message says
FILES = {
    "empty": ("t.csv", "", {}, "t.csv is empty"),
    "header only": ("t.csv", "a,b\n", {}, "t.csv has no rows"),
    "no rows": ("t.parquet", parquet(pa.table({"a": pa.array([], "f8")})), {}, "has no rows"),
    "twice": ("t.parquet", TWICE, {}, "the column 'a' twice: rename"),
    "long line": (
        "t.csv",
        "a,b\n1,2\n3,4,5\n",
        {},
        "t.csv, line 3: 3 values for 2 columns: quote",
    ),
    "long line further on": (
        "t.csv",
        "# made\na,b\n" + "1,2\n\n" * 40 + '"3\n","4"\n5,6,7\n',
        {},
        "t.csv, line 85: 3 values for 2 columns: .* `delimiter`, or the `comment`",
    ),
    "wrong encoding": (
        "t.csv",
        "a,b\n1,\N{LATIN SMALL LETTER E WITH ACUTE}\n",
        {"encoding": "ascii"},
        "line 2: not ascii text: `encoding` names another",
    ),
    "open quote": (
        "t.csv",
        'a,b\n1,2\n3,"4\n5,6\n',
        {},
        "line 3: a quote opens a value that does",
    ),
    "blank file": ("t.csv", "\n \n\n", {}, "t.csv is empty"),
    "no encoding": ("t.csv", GOOD, {"encoding": "utf-7b"}, "`encoding` utf-7b: unknown"),
    "bytes to bytes": ("t.csv", GOOD, {"encoding": "base64"}, "`encoding` base64: unknown"),
    "long delimiter": ("t.csv", GOOD, {"delimiter": "::"}, "`delimiter` '::': give one character"),
    "cut gzip": ("t.csv.gz", gzip.compress(GOOD.encode())[:-40], {}, "damaged or cut short"),
    "no gzip": ("t.csv.gz", GOOD, {}, "damaged or cut short"),
    "cut parquet": ("t.parquet", PARQUET[:-50], {}, "t.parquet cannot be read, it may be dam"),
    "no parquet": ("t.parquet", GOOD, {}, "damaged or cut short"),
    "broken parquet": ("t.parquet", PARQUET[:50] + b"x" * 99 + PARQUET[149:], {}, "damaged"),
    "cut npz": ("t.npz", npz()[:-50], {}, "damaged or cut short"),
    "broken npz": ("t.npz", npz()[:200] + b"x" * 200 + npz()[400:], {}, "damaged or cut short"),
    "empty npy": ("t.npy", b"", {}, "damaged or cut short"),
    "unknown suffix": ("t.sav", "x", {}, "unknown kind of file '.sav'; known are .csv"),
    "no sheet": ("t.xlsx", "x", {}, "t.xlsx cannot be read, it may be damaged or locked"),
    "no feather": ("t.feather", GOOD, {}, "t.feather cannot be read, it may be damaged or cut"),
    "no JSON": ("t.jsonl", '{"a": 1}\n{"a": 2\n', {}, "t.jsonl, line 2: no JSON"),
    "cut JSON": ("t.json", '[{"a": 1},\n{"a": 2', {}, "t.json, line 2: no JSON"),
    "no records": ("t.json", "[1, 2]", {}, "t.json holds no table: give a record such as"),
    "word": (
        "t.csv",
        "a\n1\n2\nx7\n",
        {"types": ["a=real"]},
        "row 3, column 'a': 'x7' is not a n",
    ),
    "odd word": (
        "t.csv",
        GOOD + "x,1.5\n",
        {"strict": True},
        "t.csv, row 61, column 'a': 'x' is not a number, though",
    ),
    "gap": (
        "t.csv",
        GOOD + ",1\nNA,2\n",
        {"strict": True},
        r"row 61, column 'a': missing value \(2 in this c",
    ),
    "inf": ("t.csv", GOOD + "1,-inf\n", {}, "row 61, column 'b': -inf is not a finite"),
    "inf, drop": ("t.csv", GOOD + "1,inf\n", {"missing": "drop"}, "row 61, column 'b': inf"),
    "constant": (
        "t.csv",
        "a,b\n1,2\n3,2\n5,2\n",
        {"strict": True},
        r"'b' is constant \(2 in every.*`exclude` b",
    ),
    "constant word": (
        "t.csv",
        "a,b\n1,u\n3,u\n",
        {"strict": True},
        r"'b' is constant \('u' in every",
    ),
    "identifier": (
        "t.csv",
        "id,v\n" + "".join(f"k{i},{i % 7}\n" for i in range(60)),
        {"strict": True},
        r"t.csv, column 'id' has 60 different values \(such as 'k0'\) and looks like an identif",
    ),
    "many words": (
        "t.csv",
        "id\n" + "".join(f"k{i % 1100}\n" for i in range(2000)),
        {"strict": True},
        "column 'id' has 1100 different values .* looks like an identifier",
    ),
    "no name": (
        "t.csv",
        ",a\n0,1.5\n1,2.5\n2,9\n",
        {"strict": True},
        r"column 'unnamed_0' counts the rows \(0",
    ),
    "no values": (
        "t.csv",
        "a,b\n1,\n3,\n",
        {"missing": "model", "strict": True},
        "column 'b' has no values",
    ),
    "null column": (
        "t.parquet",
        NULLS,
        {"missing": "drop", "strict": True},
        "column 'n' has no values",
    ),
    "all dropped": (
        "t.csv",
        "a,b\n1,\n2,\n,3\n,4\n",
        {"missing": "drop"},
        "every row has a missing",
    ),
    "nested": ("t.parquet", NESTED, {"strict": True}, "column 'l' holds list.*leave it out"),
    "few rows": ("t.csv", "a\n1\n2\n", {}, "too few rows, 2, which leaves none for"),
    "few more": ("t.csv", "a\n1\n2\n4\n6\n9\n", {}, "too few rows, 5, to learn anything from"),
    "unknown column": ("t.csv", GOOD, {"columns": ["c"]}, "`columns` c: .* no such column; there"),
    "unknown context": ("t.csv", GOOD, {"context": ["c"]}, "`context` c: "),
    "named twice": ("t.csv", GOOD, {"columns": ["a", "a"]}, "`columns`: 'a' is named twice"),
    "in both": ("t.csv", GOOD, {"columns": ["a"], "context": ["a"]}, "'a' is in `columns` and in"),
    "all context": ("t.csv", GOOD, {"context": ["a", "b"]}, "leaves none to model"),
    "gap in context": (
        "t.csv",
        GOOD + "1.5,\n",
        {"context": ["b"], "strict": True},
        "row 61, column 'b': missing value; `missing=.drop.` leaves",
    ),
    "policy": ("t.csv", GOOD, {"missing": "skip"}, "`missing` skip: choose one of auto, refuse"),
    "split sum": (
        "t.csv",
        GOOD,
        {"split": (0.5, 0.1, 0.1)},
        "`split` 0.5 0.1 0.1: give the three",
    ),
    "split zero": ("t.csv", GOOD, {"split": (1.0, 0.0, 0.0)}, "each above 0"),
    "split two": ("t.csv", GOOD, {"split": (0.5, 0.5)}, "three shares"),
    "split nan": ("t.csv", GOOD, {"split": (float("nan"), 0.5, 0.5)}, "must be numbers"),
    "split text": ("t.csv", GOOD, {"test": pa.table({"a": [1.0]})}, "table has no column 'b'"),
    "test gap": (
        "t.csv",
        GOOD,
        {"test": pa.table({"a": [1.0, None], "b": [1.0, 2.0]}), "strict": True},
        "table, row 2",
    ),
}


@pytest.mark.parametrize("case", FILES)
def test_files(tmp_path, case):
    name, content, options, message = FILES[case]
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(InputError, match=message) as caught:
        open_data(str(path), **options)
    assert "\n" not in str(caught.value)


PLACES = {
    "built-in": ("digit", "no file and no built-in data 'digit'; did you mean 'digits'"),
    "no file like it": ("{}/nosuch.csv", "no file .*nosuch.csv; there are .*table.csv"),
    "another suffix": ("{}/table.txt", "no file .*table.txt; did you mean 'table.csv'"),
    "file": ("{}/tabel.csv", "no file .*tabel.csv; did you mean 'table.csv'"),
    "folder of it": ("{}/sub/table.csv", "there is no folder"),
    "text at a URL": ("http://127.0.0.1:9/a.csv", "of URLs only Parquet files"),
    "a folder": ("{}", "is a folder: give a table file"),
}


@pytest.mark.parametrize("case", PLACES)
def test_places(tmp_path, case):
    (tmp_path / "table.csv").write_text(GOOD)
    place, message = PLACES[case]
    with pytest.raises(InputError, match=message):
        open_data(place.format(tmp_path))


def test_python_data_of_an_unknown_type():
    with pytest.raises(InputError, match="cannot read a table from set"):
        open_data({1, 2})


@pytest.fixture
def schema():
    table = pa.table({"age": [30, 41, 52] * 30, "city": ["Lima", "Quito", "Lima"] * 30})
    return open_data(table).schema


AGAINST = {
    "column": ({"age": [1]}, "no column 'city' that the model needs"),
    "category": (
        {"age": [1, 2], "city": ["Lima", "Oslo"]},
        "row 2, column 'city': unknown .*'Oslo'",
    ),
    "type": ({"age": ["x"], "city": ["Lima"]}, "row 1, column 'age': 'x' is not a number"),
    "gap": ({"age": [1, None], "city": ["Lima", "Lima"]}, "row 2, column 'age': missing value"),
    "word gap": ({"age": [1, 2], "city": ["Lima", None]}, "row 2, column 'city': missing value"),
}


@pytest.mark.parametrize("case", AGAINST)
def test_tables_that_do_not_fit_the_run(schema, case):
    values, message = AGAINST[case]
    with pytest.raises(InputError, match=message):
        open_data(pa.table(values), schema=schema, strict=True)


def test_tables_that_do_not_fit_the_run_also_when_streamed(schema, tmp_path):
    path = tmp_path / "t.parquet"
    city = ["Lima"] * 4000 + ["Oslo"] + ["Quito"] * 999
    pq.write_table(pa.table({"age": range(5000), "city": city}), path, row_group_size=100)
    found = open_data(str(path), schema=schema, memory=1 << 12)
    with pytest.raises(InputError, match="row 4001, column 'city': unknown category 'Oslo'"):
        list(found.train.ordered(100))


def test_the_schema_of_a_run_replaces_guessing(schema):
    table = pa.table({"more": ["x"] * 99, "city": ["Lima"] * 99, "age": [7] * 99})
    found = open_data(table, schema=schema)
    assert found.schema is schema
    assert found.summary == ()
    assert found.train.x[0].tolist() == [7.0, 0.0]
