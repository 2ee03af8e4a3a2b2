"""Tables of other libraries come in, and go back as what they were."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import torch

from caudal.data import as_table, container_of, like, open_data, open_rows
from caudal.data.table.tables import open_table
from caudal.errors import InputError

COLUMNS = {"n": [1, 2, 3] * 20, "x": [0.5, 1.25, None] * 20, "s": ["a", "b", "a"] * 20}
NUMBERS = np.random.default_rng(0).normal(size=(60, 2))


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table, dict])
def test_columns_come_in(make):
    table = as_table(make(COLUMNS))
    assert table.column_names == ["n", "x", "s"]
    assert table["n"].to_pylist() == COLUMNS["n"]
    assert table["x"].to_pylist() == COLUMNS["x"]
    assert table["s"].to_pylist() == COLUMNS["s"]


@pytest.mark.parametrize("make", [np.asarray, torch.from_numpy])
def test_arrays_come_in(make):
    table = as_table(make(NUMBERS))
    assert table.column_names == ["x0", "x1"]
    assert (np.stack([c.to_numpy() for c in table.columns], 1) == NUMBERS).all()


@pytest.mark.parametrize("make", [pd.DataFrame, pl.DataFrame, pa.table])
def test_a_table_goes_back_as_what_it_was(make):
    data = make(COLUMNS)
    back = like(as_table(data), container_of(data))
    assert type(back) is type(data)
    assert as_table(back)["n"].to_pylist() == COLUMNS["n"]


def test_numbers_go_back_as_a_matrix():
    table = as_table({"a": [1, None], "b": [0.5, 1.5]})
    array = like(table, "numpy")
    assert array.shape == (2, 2)
    assert np.isnan(array[1, 0])
    assert torch.equal(like(table, "torch")[0], torch.tensor([1.0, 0.5], dtype=torch.float64))
    mixed = like(as_table({"a": [1, 2], "s": ["u", "v"]}), "numpy")
    assert mixed.tolist() == [[1, "u"], [2, "v"]]
    with pytest.raises(InputError, match="column 's' is text, a tensor holds numbers"):
        like(as_table({"s": ["u"]}), "torch")
    with pytest.raises(ValueError, match="unknown container 'list'"):
        like(table, "list")


def test_what_a_container_is():
    assert container_of(pd.DataFrame({"a": [1]})) == "pandas"
    assert container_of(pl.DataFrame({"a": [1]})) == "polars"
    assert container_of(NUMBERS) == "numpy"
    assert container_of(torch.zeros(2)) == "torch"
    for data in (pa.table({"a": [1]}), "digits", {"a": [1]}):
        assert container_of(data) == "pyarrow"


REFUSED = {
    "mixed": (
        lambda: pd.DataFrame({"a": [1.5, "x", [1]]}),
        r"'a' mixes values of types float and",
    ),
    "complex": (lambda: pd.DataFrame({"z": [1j, 2.0]}), r"column 'z' holds complex numbers"),
    "complex list": (lambda: {"z": [1j, 2j]}, r"column 'z' holds complex numbers"),
    "complex array": (lambda: np.zeros((3, 2), complex), r"array holds values of type complex128"),
    "objects": (lambda: {"a": [object()]}, r"column 'a' holds values that no table can hold"),
    "matrix": (lambda: {"a": np.zeros((3, 2))}, r"column 'a' has shape \(3, 2\): give one value"),
    "lengths": (lambda: {"a": [1, 2], "b": [1]}, r"columns of several lengths: 'a' 2, 'b' 1"),
    "a set": (lambda: {1, 2}, r"cannot read a table from set: give a pandas"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_table_is_one_line(name):
    make, words = REFUSED[name]
    with pytest.raises(InputError, match=words) as caught:
        open_data(make())
    assert "\n" not in str(caught.value)


def test_words_among_the_numbers_of_a_frame_are_taken_as_in_a_file():
    ages = [*range(20, 60), "unknown", None]
    frame = pd.DataFrame({"age": ages, "v": np.arange(42) + 0.5})
    column = open_data(frame, types=["v=real"]).schema.columns[0]
    assert (column.kind, column.marks, column.missing) == ("integer", ("unknown",), True)


def test_numbers_among_words_are_words():
    values = [1.0, "x", None, 2, "3.50", float("nan")]
    for data in (pd.DataFrame({"a": pd.Series(values, dtype=object)}), {"a": values}):
        table = open_table(data)
        assert table.table["a"].to_pylist() == ["1", "x", None, "2", "3.50", None]
        note = "table, column 'a' mixes values of types float and str and int: they are read as"
        assert table.notes[0].startswith(note)
    assert open_table({"a": [1, "-", "2.5"]}).table["a"].to_pylist() == [1.0, None, 2.5]


def test_names_may_be_there_twice_or_missing():
    frame = pd.DataFrame([[1.5, 2, 3], [2.5, 3, 4]], columns=["x", "x", ""])
    for data in (frame, pa.table([[1.5, 2.5], [2, 3], [3, 4]], names=["x", "x", ""])):
        table = open_table(data)
        assert table.table.to_pydict() == {"x": [1.5, 2.5], "x_2": [2, 3], "unnamed_2": [3, 4]}
        assert table.headers == ("x", "x", "")
        assert table.notes == ("table has names of columns twice: 'x' is now 'x_2'",)


def test_an_index_that_says_something_is_told():
    frame = pd.DataFrame({"v": np.arange(60) + 0.5})
    assert open_data(frame[::-1]).notes == ()
    named = frame.set_index(pd.Index([f"p{i}" for i in range(60)], name="patient"))
    note = "the index (patient) is left out: df.reset_index() makes a column of it"
    assert open_data(named).notes == (note,)


def test_all_columns_stand_beside_the_rows_of_a_table(tmp_path):
    frame = pd.DataFrame(
        {"v": NUMBERS[:, 0], "w": NUMBERS[:, 1], "name": [f"p{i}" for i in range(60)]}
    )
    schema = open_data(frame, columns=["v"], context=["w"]).schema
    items = open_rows(frame, schema)
    (piece,) = items.pieces()
    assert (items.total, items.names, piece.keep) == (1, None, None)
    assert piece.beside.column_names == items.arrow.names == ["v", "w", "name"]
    assert torch.equal(piece.batch.x, torch.from_numpy(NUMBERS[:, :1]).float())
    assert torch.equal(piece.batch.context, torch.from_numpy(NUMBERS[:, 1:]).float())
    with pytest.raises(InputError, match="table has a column 'name' already: rename it first"):
        items.refuse_columns(["log_prob", "name"])


@pytest.mark.parametrize("suffix", ["", ".npy", ".npz", ".csv"])
@pytest.mark.parametrize("width", [1, 3])
def test_columns_without_names_must_be_as_many_as_the_model_has(width, suffix, tmp_path):
    wrong = np.full((60, width), 0.5)

    def kept(array, name):
        path = tmp_path / f"{name}{suffix}"
        if suffix == ".csv":
            np.savetxt(path, array, delimiter=",")
        elif suffix == ".npy":
            np.save(path, array)
        elif suffix == ".npz":
            np.savez(path, array)
        return str(path) if suffix else array

    columns = "1 column" if width == 1 else "3 columns"
    schema = open_data(kept(NUMBERS, "right")).schema
    with pytest.raises(InputError, match=f"has {columns}, the model 2$"):
        open_rows(kept(wrong, "wrong"), schema)
    with pytest.raises(InputError, match=f"has {columns}, .* 2$"):
        open_data(kept(NUMBERS, "right"), valid=kept(wrong, "wrong"))


def test_named_and_chosen_columns_may_have_others_beside_them():
    schema = open_data(NUMBERS).schema
    wide = np.concatenate([NUMBERS, NUMBERS], 1)
    named = pd.DataFrame(wide, columns=["x0", "x1", "x2", "x3"])
    assert open_rows(named, schema).source.x.shape == (60, 2)
    assert open_rows(wide, open_data(wide, columns=["x1", "x3"]).schema).source.x.shape == (60, 2)
    assert open_rows(wide, schema, chosen=True).source.x.shape == (60, 2)


def test_rows_with_gaps_are_masked_or_refused():
    table = pa.table({"v": [0.5, None, 2.5, 3.5]})
    schema = open_data(pa.table({"v": np.arange(60) + 0.5})).schema
    with pytest.raises(InputError, match="row 2, column 'v': missing value"):
        next(open_rows(table, schema, "refuse").pieces())
    items = open_rows(table, schema)
    piece = next(items.pieces())
    assert piece.keep.tolist() == [True, False, True, True]
    assert piece.batch.x[:, 0].tolist() == [0.5, 2.5, 3.5]
    assert items.notes == ()
    assert items.source.n_rows == 3
    assert items.notes == ("dropped 1 row with missing values",)
