"""One table in many Parquet files, local or behind a URL."""

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from caudal.data import ParquetRows, Rows, open_data
from caudal.data.images import finds_images
from caudal.data.table.tables import finds_table
from caudal.errors import InputError
from caudal.model.config import wherever_read

MEMORY = 1 << 13  # bytes, so that the rows are streamed


@pytest.fixture(scope="module")
def table():
    row = np.arange(1200)
    return pa.table({"row": row, "v": np.sin(row), "label": np.array(["u", "v", "w"])[row % 3]})


@pytest.fixture(scope="module")
def folder(table, tmp_path_factory):
    """The table in four files of several row groups."""
    folder = tmp_path_factory.mktemp("shards")
    for number in range(4):
        part = table.slice(300 * number, 300)
        pq.write_table(part, folder / f"part-{number}.parquet", row_group_size=70)
    return folder


def opened(data, **more):
    return open_data(str(data), columns=["row", "v"], context=["label"], **more)


def rows(batches):
    return torch.cat([torch.cat([batch.x, batch.context], 1) for batch in batches])


def test_a_folder_and_a_pattern_are_the_table(table, folder, tmp_path):
    pq.write_table(table, tmp_path / "whole.parquet")
    whole = opened(tmp_path / "whole.parquet")
    for data in (folder, folder / "part-*.parquet"):
        assert finds_table(str(data))
        assert not finds_images(str(data))
        shards = opened(data)
        assert isinstance(shards.train, Rows)
        assert shards.schema == whole.schema
        for part in ("train", "valid", "test"):
            assert torch.equal(getattr(shards, part).x, getattr(whole, part).x)


def test_files_at_a_url_are_streamed_as_those_here(folder):
    files = fsspec.filesystem("memory")
    for path in folder.iterdir():
        files.pipe(f"/shards/{path.name}", path.read_bytes())
    here, there = (
        opened(data, memory=MEMORY).train for data in (folder, "memory://shards/*.parquet")
    )
    with pytest.raises(InputError, match="no .parquet files are there"):
        opened("memory://elsewhere/*.parquet")
    assert isinstance(there, ParquetRows)
    assert torch.equal(rows(here.shuffled(16, seed=3)), rows(there.shuffled(16, seed=3)))


def test_a_shuffled_pass_mixes_files_and_goes_on_where_it_stopped(folder):
    train = opened(folder, memory=1 << 14).train
    batches = list(train.shuffled(16, seed=1))
    numbers = rows(batches)[:, 0]
    assert len(numbers.unique()) == len(numbers) == train.n_rows // 16 * 16
    first = numbers[: train.buffer_rows] // 300
    assert len(first.unique()) > 1
    left = list(train.shuffled(16, seed=1, skip=20))
    assert torch.equal(rows(left), rows(batches[20:]))


def test_files_of_other_columns_and_none_at_all_are_refused(folder, tmp_path):
    for number, name in enumerate(("v", "w")):
        pq.write_table(pa.table({name: [1.0]}), tmp_path / f"{number}.parquet")
    with pytest.raises(InputError, match=r"1\.parquet has other columns, .* than .*0\.parquet"):
        open_data(str(tmp_path))
    with pytest.raises(InputError, match="no .parquet files are there"):
        open_data(str(folder / "none-*.parquet"))
    with pytest.raises(InputError, match="cannot be reached"):
        open_data("nowhere://a/*.parquet")


def test_files_are_checked_as_a_single_one_is(tmp_path, monkeypatch):
    texts = pa.array([b"good", b"\xff\xfe"] * 20).view(pa.string())
    tables = {
        "twice": pa.table([[1.5, 2.5], [1, 2]], names=["a", "a"]),
        "text": pa.table({"a": np.arange(40) / 7, "b": texts}),
        "bomb": pa.table({"a": np.zeros(500_000)}),
    }
    for name, table in tables.items():
        (tmp_path / name).mkdir()
        pq.write_table(table, tmp_path / name / "0.parquet")
    with pytest.raises(InputError, match="the column 'a' twice: rename"):
        open_data(str(tmp_path / "twice"))
    with pytest.raises(InputError, match="cannot be read, it may be damaged"):
        open_data(str(tmp_path / "text"))
    monkeypatch.setenv("CAUDAL_UNPACKED", "0.001")
    with pytest.raises(InputError, match="more than 100 times its size"):
        open_data(str(tmp_path / "bomb"))


def test_a_pattern_holds_wherever_the_run_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kept = wherever_read({"data": "parts/*.parquet", "test": "*_0*"})
    assert kept == {"data": str(tmp_path / "parts" / "*.parquet"), "test": "*_0*"}
    assert wherever_read({"data": "s3://a/*.parquet"}) == {"data": "s3://a/*.parquet"}
