"""Real tables as people have them, where the checkout has them beside it."""

from pathlib import Path

import pytest
import torch

from caudal.data import open_data, read_tables
from caudal.errors import InputError

DATA = Path(__file__).parents[2] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no real data beside the checkout")


def kinds(found):
    return {c.name: (c.kind, c.step) for c in found.schema.columns}


def size(found):
    return len(found.train) + len(found.valid) + len(found.test)


def test_california_housing():
    path = str(DATA / "tabular/california_housing.csv.gz")
    with pytest.raises(InputError, match=r"row \d+, column 'total_bedrooms'.*\(207 in this"):
        open_data(path, strict=True)
    found = open_data(path, missing="model")
    assert size(found) == 20_640
    assert [c.name for c in found.schema.columns if c.missing] == ["total_bedrooms"]
    assert kinds(found)["ocean_proximity"] == ("categorical", 1.0)
    assert kinds(found)["longitude"] == ("interval", 0.01)
    assert kinds(found)["population"] == ("integer", 1.0)
    assert size(open_data(path, missing="drop")) == 20_433


def test_diamonds():
    path = str(DATA / "tabular/diamonds.csv.gz")
    found = open_data(path, context=["cut"])
    assert size(found) == 53_940
    assert kinds(found)["carat"] == ("real", 0.01)
    assert kinds(found)["price"] == ("integer", 1.0)
    assert found.schema.context[0].categories[0] == "Fair"
    (table,) = read_tables(path, batch_rows=100_000)
    x, context = found.schema.encode(table, dtype=torch.float64)
    assert found.schema.decode(x, context).select(table.column_names).equals(table)


def test_adult_without_header_and_with_question_marks():
    found = open_data(str(DATA / "tabular/adult.data.gz"), missing="model")
    assert size(found) == 32_561
    assert "no header" in found.notes[0]
    assert [c.name for c in found.schema.columns if c.categories and None in c.categories] == [
        *("c1", "c6", "c13")
    ]
    test = open_data(str(DATA / "tabular/adult.test.gz"), missing="drop")
    assert test.schema.columns[0].name == "age"


def test_power_has_its_column_names():
    found = open_data(str(DATA / "power/power_2007H1_float32.npz"))
    assert [c.name for c in found.schema.columns][:2] == ["gap", "grp"]
    assert kinds(found)["gap"] == ("real", 0.002)
    assert size(found) == 256_869


@pytest.mark.parametrize("name", ["32_shuttle", "30_satellite", "38_thyroid"])
def test_anomaly_sets_have_their_label(name):
    found = open_data(str(DATA / f"adbench/{name}.npz"), context=["y"])
    assert found.schema.context[0].categories == (0, 1)
    assert found.schema.columns[0].name == "X0"


def test_given_splits():
    parts = [str(DATA / f"dw4/{part}_split_DW4.npy") for part in ("train", "val", "test")]
    found = open_data(parts[0], valid=parts[1], test=parts[2])
    assert [len(s) for s in (found.train, found.valid, found.test)] == [100_000, 10_000, 10_000]
    assert {c.kind for c in found.schema.columns} == {"real"}
