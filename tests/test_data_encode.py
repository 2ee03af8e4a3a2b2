"""Rows that do not fit the schema are refused with their row, column and value."""

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from caudal.data import Column, TableSchema, open_data
from caudal.errors import InputError

REFUSED = {
    "unknown category": (["a", "z"], r"f, row 8, column 's': unknown category 'z'; known are 'a'"),
    "missing": (["a", None], r"f, row 8, column 's': missing value; the run has learned no gaps"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_encode_refuses_with_row_and_column(name):
    values, message = REFUSED[name]
    schema = TableSchema((Column("s", "categorical", 0.0, 1.0, 1.0, ("a", "b"), dtype="string"),))
    with pytest.raises(InputError, match=message):
        schema.encode(pa.table({"s": values}), file="f", first_row=7)


def test_encode_counts_the_missing_values():
    schema = TableSchema((Column("v", "real"),))
    with pytest.raises(InputError, match=r"row 2, column 'v': missing value \(2 in this column\)"):
        schema.encode(pa.table({"v": [1.0, None, 2.0, float("nan")]}))


@pytest.mark.parametrize("value", [float("inf"), -float("inf"), 1e39])
def test_encode_refuses_what_float32_cannot_hold(value):
    with pytest.raises(InputError, match="row 2, column 'v'.*not a finite number"):
        TableSchema((Column("v", "real"),)).encode(pa.table({"v": [1.0, value]}))


def test_encode_refuses_text_where_a_number_was():
    with pytest.raises(InputError, match="'12a' is not a number: correct it or leave the row out"):
        TableSchema((Column("v", "real"),)).encode(pa.table({"v": ["1.5", "12a"]}))


def test_encode_names_the_columns_that_lack():
    schema = TableSchema((Column("price", "real"), Column("age", "real")))
    with pytest.raises(InputError, match="f has no column 'price' that.*did you mean 'prize'"):
        schema.encode(pa.table({"prize": [1.0], "age": [1.0]}), file="f")


def test_encode_refuses_a_column_that_is_there_twice():
    table = pa.table([pa.array([1.0]), pa.array([2.0])], names=["v", "v"])
    with pytest.raises(InputError, match="the column 'v' twice"):
        TableSchema((Column("v", "real"),)).encode(table)


@pytest.mark.parametrize("gap", [[], [None]])
def test_ordered_categories_keep_their_order_both_ways(gap):
    sizes = pd.CategoricalDtype(["small", "medium", "large"], ordered=True)
    values = pd.Series(["large", "small", "medium", *gap] * 40, dtype=sizes)
    schema = open_data(pd.DataFrame({"size": values}), missing="model").schema
    assert schema.columns[0].categories == ("small", "medium", "large", *gap)
    x, _ = schema.encode(pd.DataFrame({"size": values}))
    back = schema.decode(x)["size"].to_pandas()
    assert back.dtype.ordered
    assert list(back.dtype.categories) == ["small", "medium", "large"]
    assert back.astype(object).equals(values.astype(object))


def test_an_enum_of_polars_keeps_its_order():
    values = pl.Series(["b", "a", "c"] * 40, dtype=pl.Enum(["c", "b", "a"]))
    schema = open_data(pl.DataFrame({"v": values})).schema
    x, _ = schema.encode(pl.DataFrame({"v": values}))
    assert schema.decode(x)["v"].to_pylist() == values.to_list()
