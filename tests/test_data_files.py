"""Files of every format in, files of every format out."""

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from caudal.data import open_data, read_tables
from caudal.data.refusals import TABLES
from caudal.errors import InputError


def read(path, **options):
    return pa.concat_tables(read_tables(str(path), **options))


def text(tmp_path, content, name="t.csv"):
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def test_values_are_stripped_and_null_tokens_are_missing(tmp_path):
    rows = ["1 , x", " NA, ?", "N/A,NULL", "NaN,null", "nan,None", "2, y "]
    table = read(text(tmp_path, "a, b\n" + "\n".join(rows) + "\n"))
    assert table.to_pydict() == {
        "a": [1, None, None, None, None, 2],
        "b": ["x", None, None, None, None, "y"],
    }


def test_types_of_text_columns(tmp_path):
    table = read(
        text(tmp_path, "i,f,z,e,big,w\n1,1.5,007,1e3,12345678901234567890,a\n-2,+2,1,.5,1,b\n")
    )
    assert [str(t) for t in table.schema.types] == [
        *("int64", "double", "string", "double", "string", "string")
    ]
    assert table["z"].to_pylist() == ["007", "1"]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(tmp_path, delimiter):
    content = "a,b\n1,x\n2,y\n".replace(",", delimiter)
    assert read(text(tmp_path, content)).to_pydict() == {"a": [1, 2], "b": ["x", "y"]}


def test_quotes_line_ends_and_marks(tmp_path):
    content = b'\xef\xbb\xbf"a","b"\r\n1,"x, ""y""\nz"\r\n\r\n2,w\r\n'
    assert read(text(tmp_path, content)).to_pydict() == {"a": [1, 2], "b": ['x, "y"\nz', "w"]}


HEADERS = {
    "named": ("a,b\n1,x\n2,x\n", ["a", "b"]),
    "all text": ("a,b\nu,x\nv,x\n", ["a", "b"]),
    "pandas numbers": ("0,1\n5,6\n7,8\n", ["0", "1"]),
    "years": ("id,2019,2020\nu,1,2\nv,3,4\n", ["id", "2019", "2020"]),
    "none, numbers": ("5,6\n7,8\n9,1\n", ["c0", "c1"]),
    "none, mixed": ("39, State\n50, Self\n38, State\n", ["c0", "c1"]),
    "one row": ("a,b\n1,2\n", ["a", "b"]),
}


@pytest.mark.parametrize("name", HEADERS)
def test_headers(tmp_path, name):
    content, names = HEADERS[name]
    table = read(text(tmp_path, content))
    assert table.column_names == names
    assert table.num_rows == content.count("\n") - (names[0] != "c0")


def test_a_table_without_header_is_noted(tmp_path):
    path = text(tmp_path, "".join(f"{i}.5,{i % 7}.25\n" for i in range(99)), "t.data")
    assert "has no header: its columns are called c0 to c1" in open_data(str(path)).notes[0]


def test_numpy_text_files(tmp_path):
    np.savetxt(tmp_path / "t.txt", np.arange(6).reshape(3, 2) + 0.5)
    assert read(tmp_path / "t.txt")["c1"].to_pylist() == [1.5, 3.5, 5.5]


def test_text_columns_of_a_run_stay_text(tmp_path):
    schema = open_data(pa.table({"zip": ["10", "20", "a1"] * 30, "v": [1, 2, 5] * 30})).schema
    path = text(tmp_path, "zip,v\n10,3\n20,4\n")
    assert str(read(path)["zip"].type) == "int64"
    table = read(path, schema=schema)
    assert table["zip"].to_pylist() == ["10", "20"]
    assert schema.encode(table)[0].tolist() == [[0.0, 3.0], [1.0, 4.0]]


ARRAYS = {
    "vector": ({"v.npy": np.arange(3.0)}, ["x"]),
    "matrix": ({"v.npy": np.zeros((3, 2), np.float16)}, ["x0", "x1"]),
    "big-endian": ({"v.npy": np.zeros((3, 2), ">f8")}, ["x0", "x1"]),
    "fields": ({"v.npy": np.zeros(3, [("a", "i4"), ("b", "U3")])}, ["a", "b"]),
    "one": ({"v.npz": {"data": np.zeros((3, 2))}}, ["x0", "x1"]),
    "labels": ({"v.npz": {"d": np.zeros((3, 2)), "n": np.array(["a", "b"])}}, ["a", "b"]),
    "features": ({"v.npz": {"X": np.zeros((3, 2)), "y": np.zeros(3)}}, ["X0", "X1", "y"]),
    "columns": ({"v.npz": {"a": np.zeros(3), "b": np.array(["u"] * 3)}}, ["a", "b"]),
    "remark": ({"v.npz": {"a": np.zeros(3), "version": np.array(2)}}, ["x"]),
}


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays(tmp_path, case):
    files, names = ARRAYS[case]
    ((file, content),) = files.items()
    save = np.savez if isinstance(content, dict) else np.save
    save(tmp_path / file, **content) if isinstance(content, dict) else save(
        tmp_path / file, content
    )
    table = read(tmp_path / file)
    assert table.column_names == names
    assert table.num_rows == 3


BAD_ARRAYS = {
    "three dimensions": (np.zeros((3, 2, 2)), r"shape \(3, 2, 2\)"),
    "complex": (np.zeros((3, 2), complex), "complex128"),
    "objects": (np.array([{}, None], object), "damaged|pickle"),
}


@pytest.mark.parametrize("name", BAD_ARRAYS)
def test_bad_arrays(tmp_path, name):
    array, message = BAD_ARRAYS[name]
    np.save(tmp_path / "v.npy", array, allow_pickle=True)
    with pytest.raises(InputError, match=message):
        read(tmp_path / "v.npy")


def test_arrays_of_unequal_length_are_no_table(tmp_path):
    np.savez(tmp_path / "v.npz", a=np.zeros(3), b=np.zeros((4, 2)))
    with pytest.raises(InputError, match=r"a \(3,\), b \(4, 2\).*equally many rows"):
        read(tmp_path / "v.npz")


@pytest.mark.parametrize("name", sorted({*TABLES} - {"torus"}))
def test_built_in_data(name):
    found = open_data(name)
    again = open_data(name)
    assert found.train.x.equal(again.train.x)
    if name == "digits":
        assert [c.name for c in found.schema.columns][::9] == [f"p{i}{i}" for i in range(8)]
        assert {(c.kind, c.low, c.high) for c in found.schema.columns} == {("integer", 0.0, 16.0)}
        assert sum(map(len, (found.train, found.valid, found.test))) == 1797
    else:
        assert [(c.name, c.kind) for c in found.schema.columns] == [("x", "real"), ("y", "real")]
        assert found.train.x.abs().max() < 8
        assert sum(map(len, (found.train, found.valid, found.test))) == 1 << 16


def test_digits_have_their_label_for_the_asking():
    found = open_data("digits", context=["digit"], types=["p00=real:1"])
    assert found.schema.context[0].categories == tuple(range(10))
    assert len(found.schema.columns) == 64
    assert found.schema.columns[0].kind == "real"
    assert len(open_data("digits", columns=["p33", "digit"]).schema.columns) == 2


def test_the_checkerboard_is_uniform_on_its_squares():
    x = ((open_data("checkerboard").train.x + 4) / 2).floor()
    assert ((x[:, 0] + x[:, 1]) % 2 == 0).all()


def test_read_tables_streams_in_order_with_all_columns(tmp_path):
    table = pa.table({"when": pa.array([0, 1, 2, 3, 4], pa.timestamp("ms")), "v": range(5)})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=3)
    pieces = list(read_tables(str(tmp_path / "t.parquet"), batch_rows=2))
    assert [piece.num_rows for piece in pieces] == [2, 1, 2]
    assert pa.concat_tables(pieces).equals(table)
    assert pc.sum(read(tmp_path / "t.parquet")["v"]).as_py() == 10


def test_compressed_text_of_any_name(tmp_path):
    (tmp_path / "t.data.gz").write_bytes(gzip.compress(b"a b\n1 2\n3 4\n"))
    assert read(tmp_path / "t.data.gz").to_pydict() == {"a": [1, 3], "b": [2, 4]}
