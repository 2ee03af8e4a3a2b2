"""Tables into files of every format, whole or not at all."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from caudal.data import TableWriter, open_data, read_tables
from caudal.errors import InputError


def read(path, **options):
    return pa.concat_tables(read_tables(str(path), **options))


TABLE = pa.table(
    {
        "i": pa.array([1, None, 3], pa.int16()),
        "f": pa.array([0.1, None, 1e10], pa.float32()),
        "h": pa.array(np.array([0.5, 1, 2], np.float16)),
        "b": [True, False, None],
        "s": ['x, "y"', None, "z"],
        "d": pa.array(["u", None, "v"]).dictionary_encode(),
        "file": [1.5, 2.5, 3.5],
    }
)


@pytest.mark.parametrize(
    "suffix", [".csv", ".csv.gz", ".csv.zst", ".csv.bz2", ".csv.lz4", ".tsv", ".tsv.gz"]
)
def test_text_out(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    with TableWriter(path) as writer:
        writer.write(TABLE)
        writer.write(TABLE.slice(0, 1))
    table = read(path)
    assert table["i"].to_pylist() == [1, None, 3, 1]
    assert table["f"].to_pylist() == [0.1, None, 1e10, 0.1]
    assert table["s"].to_pylist() == ['x, "y"', None, "z", 'x, "y"']
    assert table["d"].to_pylist() == ["u", None, "v", "u"]
    assert table.column_names == TABLE.column_names


def test_text_out_quotes_only_where_it_must(tmp_path):
    with TableWriter(tmp_path / "t.csv") as writer:
        writer.write(pa.table({"a": [1.5, 2], "city": ["Lima", None]}))
    assert (tmp_path / "t.csv").read_text() == "a,city\n1.5,Lima\n2,\n"
    with TableWriter(tmp_path / "u.csv") as writer:
        writer.write(pa.table({"a": [1.5, None], "b": ['5" pipe, "x"', "Lima"], "c": ["d", None]}))
    assert (tmp_path / "u.csv").read_text() == 'a,b,c\n1.5,"5"" pipe, ""x""",d\n,Lima,\n'


def test_parquet_out_keeps_everything(tmp_path):
    with TableWriter(tmp_path / "t.parquet") as writer:
        writer.write(TABLE)
        writer.write(TABLE)
    table = pq.read_table(tmp_path / "t.parquet")
    assert table.equals(pa.concat_tables([TABLE, TABLE]))
    assert pq.ParquetFile(tmp_path / "t.parquet").num_row_groups == 2


@pytest.mark.parametrize("suffix", [".feather", ".arrow", ".parquet"])
def test_categories_that_come_later_are_written(tmp_path, suffix):
    pieces = [["u", None, "v"], ["w", "v", None], ["u", "u", "u"]]
    with TableWriter(tmp_path / f"t{suffix}") as writer:
        for values in pieces:
            writer.write(pa.table({"d": pa.array(values).dictionary_encode()}))
    table = read(tmp_path / f"t{suffix}")
    assert table["d"].to_pylist() == sum(pieces, [])
    assert pa.types.is_dictionary(table.schema.field("d").type)


def test_arrays_out(tmp_path):
    with TableWriter(tmp_path / "t.npz") as writer:
        writer.write(TABLE)
    arrays = np.load(tmp_path / "t.npz")
    assert arrays.files == TABLE.column_names
    assert arrays["s"].tolist() == ['x, "y"', "", "z"]
    assert arrays["file"].tolist() == [1.5, 2.5, 3.5]
    assert np.isnan(arrays["i"][1])
    with TableWriter(tmp_path / "t.npy") as writer:
        writer.write(TABLE.select(["i", "f"]))
        writer.write(TABLE.select(["i", "f"]))
    assert np.load(tmp_path / "t.npy").shape == (6, 2)


def test_arrays_out_in_pieces_are_those_of_the_whole(tmp_path):
    first = pa.table({"i": [1, 2], "s": ["a", "b"], "d": pa.array([1, 2], pa.timestamp("s"))})
    then = pa.table(
        {"i": [None, 4], "s": ["longer", None], "d": pa.array([None, 4], pa.timestamp("s"))},
        schema=first.schema,
    )
    for name, pieces in (
        ("pieces.npz", [first, then]),
        ("whole.npz", [pa.concat_tables([first, then])]),
    ):
        with TableWriter(tmp_path / name) as writer:
            for piece in pieces:
                writer.write(piece)
    made, whole = (np.load(tmp_path / name) for name in ("pieces.npz", "whole.npz"))
    for column in ("i", "s", "d"):
        assert made[column].dtype == whole[column].dtype
        np.testing.assert_array_equal(made[column], whole[column])
    assert made["s"].tolist() == ["a", "b", "longer", ""]
    with TableWriter(tmp_path / "t.npy") as writer:
        writer.write(first.select(["i"]))
        writer.write(then.select(["i"]))
    np.testing.assert_array_equal(np.load(tmp_path / "t.npy"), [[1.0], [2.0], [np.nan], [4.0]])
    assert {entry.name for entry in tmp_path.iterdir()} == {"pieces.npz", "whole.npz", "t.npy"}


def test_arrays_are_written_in_little_memory(tmp_path):
    table = pa.table({"x": np.arange(50_000) / 7})
    tracemalloc.start()
    with TableWriter(tmp_path / "t.npy") as writer:
        for _ in range(20):
            writer.write(table)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.load(tmp_path / "t.npy").nbytes == 20 * table.nbytes
    assert peak < 4 * table.nbytes


def test_text_does_not_go_into_npy(tmp_path):
    with (
        pytest.raises(InputError, match="column 's' is text, .npy holds numbers"),
        TableWriter(tmp_path / "t.npy") as writer,
    ):
        writer.write(TABLE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet", ".npy", ".npz"])
def test_nothing_stays_of_a_file_that_failed(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    path.write_text("before")
    with pytest.raises(RuntimeError, match="stop"), TableWriter(path) as writer:  # noqa: PT012
        writer.write(TABLE.select(["i", "f"]))
        raise RuntimeError("stop")
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "before"


@pytest.mark.parametrize("name", ["t.xlsx", "t", "t.gz", "t.parquet.gz"])
def test_an_unknown_suffix_is_refused_at_once(tmp_path, name):
    with pytest.raises(InputError, match=r"(cannot write|no suffix).*known are .csv .tsv .*.npz"):
        TableWriter(tmp_path / name)


def test_places_that_cannot_be_written_are_refused(tmp_path):
    with pytest.raises(InputError, match="is a folder"):
        TableWriter(tmp_path)
    (tmp_path / "f").write_text("")
    with (
        pytest.raises(InputError, match=r"cannot write .*f/t.csv"),
        TableWriter(tmp_path / "f/t.csv"),
    ):
        pass


def test_pieces_must_be_alike_and_there_must_be_one(tmp_path):
    with pytest.raises(InputError, match="same columns"), TableWriter(tmp_path / "t.csv") as w:  # noqa: PT012
        w.write(TABLE)
        w.write(TABLE.select(["i"]))
    with pytest.raises(InputError, match="no rows to write"), TableWriter(tmp_path / "t.csv"):
        pass


def test_lists_are_written_as_json_and_refused_as_arrays(tmp_path):
    table = pa.table({"a": [[1, 2], [3]], "b": [1, 2]})
    with TableWriter(tmp_path / "lists.jsonl") as writer:
        writer.write(table)
    assert (tmp_path / "lists.jsonl").read_text().startswith('{"a": [1, 2], "b": 1}')
    with (
        pytest.raises(InputError, match="column 'a' has no array of its values: write .parquet"),
        TableWriter(tmp_path / "lists.npz") as writer,
    ):
        writer.write(table)
    assert not (tmp_path / "lists.npz").exists()


@pytest.mark.parametrize("kind", ["", "circular[0,24]", "positive"])
def test_samples_have_no_more_decimals_than_the_data(kind):
    """The density is that of a continuous column; what is written has the look of the data."""
    rng = np.random.default_rng(0)
    values = np.round(rng.uniform(0.01, 24, 400), 2)
    types = (f"hour={kind}",) if kind else ()
    schema = open_data(pa.table({"hour": values, "w": rng.normal(size=400)}), types=types).schema
    assert schema.columns[0].step is None
    x = torch.tensor([[1.23456789, 0.123456789], [0.0001, 0.0], [23.9999, 1.0]])
    hours = schema.decode(x)["hour"].to_pylist()
    assert hours[0] == 1.23
    assert all(round(hour, 2) == hour for hour in hours)
    assert schema.decode(x)["w"][0].as_py() == pytest.approx(0.123456789, abs=1e-8)
    if kind == "positive":
        assert hours[1] == 0.01


def test_angles_around_the_circle_have_no_more_decimals_than_the_data():
    angles = np.round(np.random.default_rng(0).uniform(-180, 180, 400), 2)
    schema = open_data(pa.table({"a": angles}), types=("a=circular[-180,180]",)).schema
    x = torch.tensor([[-401.55], [437.45], [180.0], [-180.004]])
    assert schema.decode(x)["a"].to_pylist() == [-41.55, 77.45, -180.0, -180.0]
