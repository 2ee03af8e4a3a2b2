"""Parquet files larger than memory."""

import itertools
import weakref

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from caudal.data import ParquetRows, Rows, open_data
from caudal.data.table import streamed as streamed_rows


def ids(batches):
    return torch.cat([batch.x[:, 0] for batch in batches]).long().tolist()


@pytest.fixture(scope="module")
def many_groups(tmp_path_factory):
    """10,000 numbered rows in 40 groups of unequal sizes, sorted, as a user's export is."""
    path = tmp_path_factory.mktemp("parquet") / "rows.parquet"
    row = np.arange(10_000)
    table = pa.table({"row": row, "v": np.sin(row), "label": np.array(["u", "v", "w"])[row % 3]})
    with pq.ParquetWriter(path, table.schema) as writer:
        edges = [0, 1, 700, *range(800, 10_000, 250), 10_000]
        for start, end in itertools.pairwise(edges):
            writer.write_table(table.slice(start, end - start))
    return path


@pytest.fixture(scope="module")
def streamed(many_groups):
    return open_data(str(many_groups), columns=["row", "v"], context=["label"], memory=1 << 15)


def test_large_parquet_files_stream(streamed):
    assert isinstance(streamed.train, ParquetRows)
    assert len(streamed.train.counts) == 40
    assert streamed.train.buffer_rows < 1000


def test_streamed_and_loaded_are_the_same_rows(streamed, many_groups):
    loaded = open_data(str(many_groups), columns=["row", "v"], context=["label"])
    assert isinstance(loaded.train, Rows)
    assert streamed.schema == loaded.schema
    for part in ("train", "valid", "test"):
        a, b = getattr(streamed, part), getattr(loaded, part)
        assert len(a) == len(b)
        batches = list(a.ordered(64))
        assert {len(batch.x) for batch in batches[:-1]} == {64}
        assert torch.equal(torch.cat([batch.x for batch in batches]), b.x)
        assert torch.equal(torch.cat([batch.context for batch in batches]), b.context)


def test_a_streamed_shuffle_visits_each_row_once(streamed):
    source = streamed.train
    rows = ids(source.shuffled(64, seed=5))
    assert len(rows) == len(source) // 64 * 64 == len(set(rows))
    assert set(rows) <= set(ids(source.ordered(1000)))
    assert ids(source.shuffled(64, seed=5)) == rows
    assert ids(source.shuffled(64, seed=6)) != rows


def test_a_streamed_shuffle_mixes_across_the_file(streamed):
    first = ids(itertools.islice(streamed.train.shuffled(64, seed=5), 4))
    assert max(first) - min(first) > 3000


@pytest.mark.parametrize("skip", [0, 1, 20, 63, 124, 125, 900])
def test_streamed_skip_gives_the_rest_of_the_same_pass(streamed, skip):
    whole = list(streamed.train.shuffled(64, seed=5))
    rest = list(streamed.train.shuffled(64, seed=5, skip=skip))
    assert len(rest) == max(0, len(whole) - skip)
    for a, b in zip(rest, whole[skip:], strict=True):
        assert torch.equal(a.x, b.x)
        assert torch.equal(a.context, b.context)


def test_skip_does_not_read_what_it_passes_over(streamed, monkeypatch):
    read = []
    chunks = type(streamed.train.table).chunks

    def counting(self, names, groups=None, rows=1 << 16):
        for piece in chunks(self, names, groups, rows):
            read.append(piece.table.num_rows)
            yield piece

    monkeypatch.setattr(type(streamed.train.table), "chunks", counting)
    list(streamed.train.shuffled(64, seed=5, skip=100))
    assert sum(read) < 3500


def test_a_shuffled_pass_lets_go_of_a_buffer_before_the_next():
    alive = []

    def buffers():
        for _ in range(4):
            assert [ref for ref in alive if ref() is not None] == []
            made = [torch.zeros(6, 2)]
            alive.append(weakref.ref(made[0]))
            yield made.pop()

    rows = streamed_rows._rechunk(streamed_rows._each_shuffled(buffers(), 0, 0), 5)
    assert sum(len(batch) for batch in rows) == 24
    assert len(alive) == 4


def test_streamed_rows_with_gaps_are_dropped(tmp_path):
    path = tmp_path / "gaps.parquet"
    values = [None if i % 7 == 0 else i + 0.5 for i in range(3000)]
    pq.write_table(pa.table({"v": values}), path, row_group_size=100)
    streamed = open_data(str(path), missing="drop", memory=1 << 12)
    loaded = open_data(str(path), missing="drop")
    assert streamed.notes == loaded.notes == ("dropped 429 rows with missing values",)
    assert len(streamed.train) == len(loaded.train)
    assert ids(streamed.train.ordered(100)) == ids(loaded.train.ordered(100))
    assert len(ids(streamed.train.shuffled(10, 0))) == len(loaded.train) // 10 * 10


def test_a_file_larger_than_the_limit_is_never_in_memory(tmp_path, monkeypatch):
    path = tmp_path / "large.parquet"
    rng = np.random.default_rng(0)
    names = [f"v{i}" for i in range(8)]
    schema = pa.schema([(name, pa.float64()) for name in names])
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for _ in range(40):
            columns = [rng.standard_normal(12_500) for _ in names]
            writer.write_table(pa.table(columns, schema=schema))
    assert path.stat().st_size > 30e6
    monkeypatch.setattr(pq.ParquetFile, "read", None)
    base = pa.total_allocated_bytes()
    limit = 1 << 22
    source = open_data(str(path), memory=limit).train
    held = rows = 0
    for batch in source.shuffled(1000, seed=0):
        held = max(held, pa.total_allocated_bytes() - base)
        rows += len(batch.x)
    assert rows == len(source) // 1000 * 1000
    assert source.buffer_rows * 8 * 4 <= limit / 4
    assert held < limit
