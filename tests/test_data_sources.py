"""Batches in memory, and splits."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from caudal.data import Rows, TableWriter, open_data
from caudal.data.splits import Split, _mix, hash_rows
from caudal.errors import InputError


def ids(batches):
    return torch.cat([batch.x[:, 0] for batch in batches]).long().tolist()


def numbered(n, d=2):
    return Rows(torch.arange(n).float()[:, None].expand(n, d).contiguous())


def test_a_shuffled_pass_visits_each_row_once():
    rows = ids(numbered(103).shuffled(10, seed=3))
    assert len(rows) == len(set(rows)) == 100
    assert rows != sorted(rows)


def test_the_order_is_a_function_of_the_seed():
    source = numbered(100)
    first = ids(source.shuffled(10, seed=3))
    torch.rand(5)  # the global generator has no say
    assert ids(source.shuffled(10, seed=3)) == first
    assert ids(source.shuffled(10, seed=4)) != first


@pytest.mark.parametrize("skip", [0, 1, 7, 10, 11])
def test_skip_gives_the_rest_of_the_same_pass(skip):
    source = numbered(103)
    whole = [batch.x for batch in source.shuffled(10, seed=3)]
    rest = [batch.x for batch in source.shuffled(10, seed=3, skip=skip)]
    assert len(rest) == max(0, 10 - skip)
    assert all(torch.equal(a, b) for a, b in zip(rest, whole[skip:], strict=True))


def test_an_ordered_pass_has_the_ragged_end_and_the_context():
    source = Rows(torch.arange(7.0)[:, None], torch.arange(7.0)[:, None] + 0.5)
    batches = list(source.ordered(3))
    assert [len(batch.x) for batch in batches] == [3, 3, 1]
    assert all(torch.equal(batch.x + 0.5, batch.context) for batch in batches)
    for batch in source.shuffled(3, seed=0):
        assert torch.equal(batch.x + 0.5, batch.context)


BAD_ROWS = {
    "one dimension": (lambda: Rows(torch.zeros(3)), r"try x\[:, None\]"),
    "empty": (lambda: Rows(torch.zeros(0, 2)), "no values"),
    "integers": (lambda: Rows(torch.zeros(3, 2, dtype=torch.long)), r"try x.float\(\)"),
    "NaN": (lambda: Rows(torch.tensor([[1.0], [torch.nan]])), "row 2 of x has a NaN"),
    "inf": (lambda: Rows(torch.tensor([[torch.inf]]), gaps=True), "row 1 of x has an infinite"),
    "context": (lambda: Rows(torch.zeros(3, 2), torch.zeros(2, 1)), "3 rows, its context 2"),
    "batch": (lambda: list(numbered(3).ordered(0)), "at least 1 row"),
    "skip": (lambda: list(numbered(3).shuffled(1, 0, skip=-1)), "cannot skip -1"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_rows_refuse(name):
    make, message = BAD_ROWS[name]
    with pytest.raises(InputError, match=message):
        make()


def test_missing_values_pass_where_they_stand_for_gaps():
    assert len(Rows(torch.tensor([[torch.nan]]), gaps=True)) == 1


def test_a_split_has_about_its_fractions_and_depends_on_seed_and_row_alone():
    parts = Split((0.8, 0.15, 0.05), seed=1).parts(0, 100_000)
    assert np.bincount(parts) / 1e5 == pytest.approx([0.8, 0.15, 0.05], abs=0.005)
    later = Split((0.8, 0.15, 0.05), seed=1).parts(70_000, 30_000)
    assert (later == parts[70_000:]).all()
    other = Split((0.8, 0.15, 0.05), seed=2).parts(0, 100_000)
    assert np.mean(parts == other) == pytest.approx(0.8**2 + 0.15**2 + 0.05**2, abs=0.01)


def test_the_hash_stays_what_it_is():
    # Runs find their test rows again by it: other numbers would leak training rows into the test.
    assert hash_rows(np.arange(3), 0) == pytest.approx([0.65244849, 0.0340117, 0.84296553])
    assert _mix(np.zeros(1, np.uint64))[0] == 0xE220A8397B1DCDAF  # splitmix64's published output
    uniform = hash_rows(np.arange(100_000), 0)
    assert np.histogram(uniform, 20, (0, 1))[0] == pytest.approx(np.full(20, 5000), rel=0.06)


def test_a_share_of_zero_gets_nothing():
    assert set(Split((0.5, 0.0, 0.5), 0).parts(0, 5000)) == {0, 2}
    assert set(Split((0.5, 0.5, 0.0), 0).parts(0, 5000)) == {0, 1}
    assert set(Split((1.0, 0.0, 0.0), 0).parts(0, 5000)) == {0}


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv", ".parquet", ".npz"])
def test_every_format_gives_the_same_split(tmp_path, suffix):
    table = pa.table({"row": np.arange(500.0) + 0.25, "v": np.sin(np.arange(500))})
    with TableWriter(tmp_path / f"t{suffix}") as writer:
        writer.write(table)
    expected, found = open_data(table), open_data(str(tmp_path / f"t{suffix}"))
    assert replace(found.schema, written=expected.schema.written) == expected.schema
    for part in ("train", "valid", "test"):
        assert torch.equal(getattr(found, part).x, getattr(expected, part).x)


def test_given_validation_and_test_tables_take_the_place_of_shares():
    table = pa.table({"v": np.arange(1000) + 0.5, "w": np.sin(np.arange(1000))})
    some = table.slice(0, 30)
    both = open_data(table, valid=some, test=some.slice(0, 10))
    assert [len(s) for s in (both.train, both.valid, both.test)] == [1000, 30, 10]
    one = open_data(table, test=some)
    assert len(one.train) + len(one.valid) == 1000
    assert len(one.valid) == pytest.approx(1000 / 9, abs=30)
    assert torch.equal(one.test.x[:, 0], torch.arange(30) + 0.5)


def test_categories_of_a_given_test_table_are_known():
    table = pa.table({"v": np.sin(np.arange(100)), "s": ["a", "b"] * 50})
    found = open_data(table, test=pa.table({"v": [0.5], "s": ["c"]}))
    assert found.schema.columns[1].categories == ("a", "b", "c")


def test_the_looks_of_a_column_are_those_of_the_training_table():
    rng = np.random.default_rng(0)
    table = pa.table({"v": rng.normal(size=300), "id": [f"n{i}" for i in range(300)]})
    plain = table.drop(["id"])
    dataset = open_data(plain, valid=plain, test=plain)
    assert dataset.notes == ()  # no value repeats, though each is in three tables
    with pytest.raises(InputError, match="looks like an identifier"):
        open_data(table, valid=table, strict=True)


def test_what_a_column_can_hold_is_what_all_tables_hold():
    table = pa.table({"v": np.arange(100) % 50})
    other = pa.table({"v": [-1, 2, 3]})
    assert open_data(table).schema.columns[0].low == 0.0
    assert open_data(table, test=other).schema.columns[0].low is None


def test_dropped_rows_do_not_move_the_others():
    values = np.arange(1000) + 0.5
    gaps = np.where(np.arange(1000) % 10 == 3, np.nan, values)
    whole = open_data(pa.table({"v": values}))
    found = open_data(pa.table({"v": gaps}), missing="drop")
    assert found.notes == ("dropped 100 rows with missing values",)
    assert set(ids([found.test])) < set(ids([whole.test]))


@pytest.mark.parametrize("count", [3, 5, 20])
def test_a_part_with_a_share_gets_a_row_of_a_small_table(count):
    for seed in range(50):
        parts = Split((0.8, 0.1, 0.1), seed, count).parts(0, count)
        assert set(parts) == {0, 1, 2}
        assert np.bincount(parts).argmax() == 0 or count < 5
    assert set(Split((0.8, 0.0, 0.2), 0, count).parts(0, count)) == {0, 2}
