"""Encoding and decoding are each other's inverse, in the user's own types."""

import decimal
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from caudal.data import Column, TableSchema, open_data
from caudal.errors import InputError, NumericalError

F16 = np.array([0.5, 1.25, 3.0, 0.5], np.float16)
MONEY = [decimal.Decimal(s) for s in ("1.50", "2.25", "3.10", "99999999.99")]
ROUND_TRIPS = {
    "int8": (pa.array([-128, 127, 3, 4], pa.int8()), "integer"),
    "uint8": (pa.array([0, 255, 3, 4], pa.uint8()), "integer[0,255]"),
    "int64": (pa.array([1, -5, 8_000_000, None]), "integer"),
    "int64 large": (pa.array([2**40, 2**41, 5, None]), "real"),
    "uint64": (pa.array([1, 5, 7, 9], pa.uint64()), "integer"),
    "float32": (pa.array([0.1, -2.5, None, 3e30], pa.float32()), "real"),
    "float64": (pa.array([0.1, -2.5, None, 1e-30]), "real"),
    "float16": (pa.array(F16), "real"),
    "rounded": (pa.array([0.1, 0.3, 452.6, None]), "real:0.1"),
    "rounded float32": (pa.array([0.1, 0.3, 452.6, None], pa.float32()), "real:0.1"),
    "positive": (pa.array([0.1, 2.5, 1e-9, None]), "positive"),
    "interval": (pa.array([0.0, 1.0, 0.5, None]), "interval[0,1]"),
    "decimal": (pa.array(MONEY, pa.decimal128(10, 2)), "real"),
    "decimal categories": (pa.array(MONEY, pa.decimal128(10, 2)), "categorical"),
    "bool": (pa.array([True, False, None, True]), "categorical"),
    "bool as number": (pa.array([True, False, True, True]), "integer"),
    "integer labels": (pa.array([3, 7, None, 3], pa.int16()), "categorical"),
    "float labels": (pa.array([0.5, 1.5, None, 0.5], pa.float32()), "categorical"),
    "string": (pa.array(["b", "a", None, "ü, \n"]), "categorical"),
    "large_string": (pa.array(["b", "a", None, "a"], pa.large_string()), "categorical"),
    "dictionary": (
        pa.array(["b", "a", None, "a"]).cast(pa.dictionary(pa.int8(), pa.string())),
        "categorical",
    ),
    "dictionary of numbers": (pa.array([5, 6, None, 5]).dictionary_encode(), "categorical"),
}


def schema_of(column: pa.Array, kind: str) -> TableSchema:
    """The schema of a table with this column, from as many rows as a split needs."""
    table = pa.table({"a": pa.concat_arrays([column] * 30)})
    missing = "model" if column.null_count else "refuse"
    return open_data(table, types=[f"a={kind}"], missing=missing).schema


def plain(column: pa.ChunkedArray) -> list:
    return column.to_pylist()


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_decode_inverts_encode(name):
    column, kind = ROUND_TRIPS[name]
    schema = schema_of(column, kind)
    x, context = schema.encode(pa.table({"a": column}), dtype=torch.float64)
    back = schema.decode(x)
    assert context is None
    assert x.shape == (len(column), 1)
    assert back.schema.field("a").type == column.type
    assert plain(back["a"]) == column.to_pylist()


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_schema_survives_json(name):
    column, kind = ROUND_TRIPS[name]
    schema = schema_of(column, kind)
    again = TableSchema.from_dict(json.loads(json.dumps(schema.to_dict())))
    assert again == schema
    x, _ = again.encode(pa.table({"a": column}), dtype=torch.float64)
    assert plain(again.decode(x)["a"]) == column.to_pylist()


@pytest.mark.parametrize("count", [200_000_000, -1, 2.0])
def test_a_file_with_no_such_number_of_decimals_is_refused(count):
    described = schema_of(*ROUND_TRIPS["float64"]).to_dict()
    with pytest.raises(InputError, match="`decimals` .*: must be whole numbers from 1 to 8$"):
        TableSchema.from_dict({**described, "written": {"decimals": {"a": count}}})


def test_a_file_with_no_such_fillers_is_refused():
    described = schema_of(*ROUND_TRIPS["float64"]).to_dict()
    with pytest.raises(InputError, match="`fillers` 'x': must be one of drawn, normal"):
        TableSchema.from_dict({**described, "fillers": "x"})


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_any_sample_is_inside_the_support(name):
    column, kind = ROUND_TRIPS[name]
    schema = schema_of(column, kind)
    wild = torch.randn(500, 1, generator=torch.Generator().manual_seed(0)).double()
    wild = wild * 10.0 ** torch.arange(500).remainder(37)[:, None]
    back = schema.decode(wild)
    assert back.schema.field("a").type == column.type
    again, _ = schema.encode(back, dtype=torch.float64)
    low, high = schema.columns[0].low, schema.columns[0].high
    assert torch.isfinite(again).all()
    if low is not None:
        assert (again >= low - 1e-9).all()
    if high is not None:
        assert (again <= high + 1e-9).all()
    if schema.columns[0].kind == "positive":
        assert (again > 0).all()


def test_whole_numbers_declared_positive_never_become_zero():
    schema = TableSchema((Column("a", "positive", 0.0, dtype="int32"),))
    assert schema.decode(torch.tensor([[0.2], [-4.0], [3.6]]))["a"].to_pylist() == [1, 1, 4]


def test_integers_are_clipped_not_wrapped():
    schema = TableSchema((Column("a", "integer", None, None, 1.0, dtype="int8"),))
    assert schema.decode(torch.tensor([[300.0], [-300.0]]))["a"].to_pylist() == [127, -128]
    schema = TableSchema((Column("a", "real", dtype="int64"),))
    values = schema.decode(torch.tensor([[1e30], [-1e30]]))["a"].to_pylist()
    assert values[0] > 2**62
    assert values[1] == -(2**63)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_no_sample(value):
    schema = TableSchema((Column("a", "real"),))
    with pytest.raises(NumericalError, match="column 'a'"):
        schema.decode(torch.tensor([[value]]))


def test_decode_refuses_another_width():
    with pytest.raises(ValueError, match=r"\(N, 1\)"):
        TableSchema((Column("a", "real"),)).decode(torch.zeros(3, 2))


def test_columns_and_context_are_told_apart_by_name_not_by_place():
    schema = TableSchema((Column("b", "real"), Column("a", "real")), (Column("c", "real"),))
    table = pa.table({"c": [9.0], "a": [1.0], "more": ["text"], "b": [2.0]})
    x, context = schema.encode(table)
    assert x.tolist() == [[2.0, 1.0]]
    assert context.tolist() == [[9.0]]
    assert schema.decode(x, context).to_pydict() == {"b": [2.0], "a": [1.0], "c": [9.0]}


def test_context_alone_may_come_as_text():
    column = Column("digit", "categorical", 0.0, 1.0, 1.0, (3, 7), dtype="uint8")
    schema = TableSchema((Column("a", "real"),), (column, Column("size", "real")))
    context = schema.encode_context(pa.table({"digit": ["7", "3"], "size": ["1.5", "2"]}))
    assert context.tolist() == [[1.0, 1.5], [0.0, 2.0]]
    with pytest.raises(InputError, match="row 1, column 'digit': unknown category 5; known are 3"):
        schema.encode_context(pa.table({"digit": ["5"], "size": [1.0]}))


def test_a_pandas_frame_is_a_table():
    frame = pd.DataFrame({"a": [0.5, 1.5] * 51, "s": ["u", "u", "v", "v", "w", "w"] * 17})
    found = open_data(frame)
    x, _ = found.schema.encode(frame)
    assert x[:4].tolist() == [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    back = found.schema.decode(x).to_pandas()
    pd.testing.assert_frame_equal(back, frame)


def test_categories_are_matched_by_value_not_by_type():
    labels = schema_of(pa.array([0, 1, 1]), "categorical")
    x, _ = labels.encode(pa.table({"a": [1.0, 0.0]}))
    assert x.flatten().tolist() == [1.0, 0.0]
    x, _ = labels.encode(pa.table({"a": ["1", "0"]}))
    assert x.flatten().tolist() == [1.0, 0.0]


def test_a_column_refuses_a_kind_that_is_none():
    with pytest.raises(InputError, match="unknown kind 'ordinal'"):
        Column("v", "ordinal")
    with pytest.raises(InputError, match="categories"):
        Column("v", "categorical")


def test_supports_in_words():
    assert Column("v", "real").support == "(-inf, inf)"
    assert Column("v", "positive", 0.0).support == "(0, inf)"
    assert Column("v", "integer", 0.0, 120.0, 1.0).support == "[0, 120]"
    assert Column("v", "categorical", 0.0, 1.0, 1.0, (1, 2)).support == "2 categories"


def test_samples_of_float_columns_have_the_digits_of_float32():
    x = torch.tensor([[76.99295], [0.1], [1e-7], [20_000_001.0]])
    column = Column("v", "real")
    assert TableSchema((column,)).decode(x)["v"].to_pylist() == [76.99295, 0.1, 1e-7, 20_000_000.0]


@pytest.mark.parametrize(
    "odd",
    [
        {"categories": ["a", ["b"]], "dtype": "string"},
        {"kind": "real", "format": "no format", "dtype": "string"},
    ],
)
def test_a_column_whose_values_cannot_be_written_is_refused(odd):
    """Such as of a model file that is damaged: samples would end in a traceback."""
    column = {"name": "c", "kind": "categorical", "low": 0.0, "high": 1.0, "step": 1.0}
    with pytest.raises(InputError, match="column 'c': its values cannot be written"):
        TableSchema.from_dict({"columns": [{**column, **odd}]})
