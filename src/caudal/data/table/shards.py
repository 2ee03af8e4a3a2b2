"""One table in many Parquet files: a folder, a pattern, or the same at a URL that fsspec knows."""

import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from caudal.data.refusals import damage
from caudal.data.table.tables import (
    PIECE,
    Chunk,
    ParquetTable,
    Tables,
    read_group,
    refuse_twice,
)
from caudal.data.unpacked import check_parquet
from caudal.errors import InputError, one_line

SUFFIX = ".parquet"
_SIGNS = "*?["


def finds_shards(data: Any) -> bool:
    """Whether `data` names a folder, a pattern or a URL of Parquet files; opens none of them."""
    if not isinstance(data, str | os.PathLike):
        return False
    name, path = os.fspath(data), Path(data)
    if path.is_dir():
        return any(path.glob(f"*{SUFFIX}"))
    is_elsewhere = any(sign in name for sign in (*_SIGNS, "://")) and not path.exists()
    return is_elsewhere and name.endswith(SUFFIX)


class ShardedTable(ParquetTable):
    """A table whose row groups lie in several Parquet files, in the order of their names.

    A shuffled pass goes through the row groups of all files in one random order.

    Args:
        name: a folder, a pattern such as `data/*.parquet`, or a URL such as `s3://b/*.parquet`.

    Raises:
        InputError: there are no such files, or they have other columns than the first, or one
            twice, or would fill the memory.
    """

    def __init__(self, name: str) -> None:
        self.filesystem, self.files = _find(name)
        with damage(name):
            self._footers = [self._footer(file) for file in self.files]
        first = self._footers[0].schema.to_arrow_schema().remove_metadata()
        refuse_twice(self.files[0], first)
        for file, footer in zip(self.files, self._footers, strict=True):
            check_parquet(self.filesystem.size(file) or 0, file, footer, first)
            if not footer.schema.to_arrow_schema().remove_metadata().equals(first):
                raise InputError(
                    f"{file} has other columns, or columns of other types, than {self.files[0]}: "
                    f"leave it out, or write it anew"
                )
        groups = [f.row_group(i) for f in self._footers for i in range(f.num_row_groups)]
        self.bytes = sum(group.total_byte_size for group in groups)
        self._starts = [0, *accumulate(footer.num_row_groups for footer in self._footers)]
        Tables.__init__(self, name, first, [group.num_rows for group in groups])

    def chunks(
        self, names: Sequence[str], groups: Sequence[int] | None = None, rows: int = PIECE
    ) -> Iterator[Chunk]:
        first_rows = [0, *accumulate(self.groups)]
        for group in range(len(self.groups)) if groups is None else groups:
            shard = bisect_right(self._starts, group) - 1
            first, inside = first_rows[group], group - self._starts[shard]
            with damage(self.files[shard]), self._open_shard(shard) as file:
                for table in read_group(file, inside, names, rows):
                    yield Chunk(group, first, table)
                    first += table.num_rows

    def _footer(self, file: str) -> pq.FileMetaData:
        """What a file says of itself, read once: a pass opens it for each of its row groups."""
        with self.filesystem.open(file, "rb") as stream:
            return pq.read_metadata(stream)

    @contextmanager
    def _open_shard(self, shard: int) -> Iterator[pq.ParquetFile]:
        file, footer = self.files[shard], self._footers[shard]
        if self.filesystem.protocol[0] == "file":  # read without the way through Python
            with pq.ParquetFile(
                file, metadata=footer, pre_buffer=False, buffer_size=1 << 20
            ) as opened:
                yield opened
            return
        with self.filesystem.open(file, "rb") as stream:
            yield pq.ParquetFile(stream, metadata=footer)


def _find(name: str) -> tuple[Any, list[str]]:
    """The file system on which the files of that name lie, and their paths there."""
    import fsspec

    try:
        filesystem, path = fsspec.url_to_fs(name)
        if not any(sign in path for sign in _SIGNS):
            path = f"{path.rstrip('/')}/*{SUFFIX}" if filesystem.isdir(path) else path
        files = sorted(filesystem.glob(path))
    except (ImportError, ValueError, OSError) as error:
        raise InputError(f"{name} cannot be reached: {one_line(error, 160)}") from None
    if not files:
        raise InputError(f"{name}: no {SUFFIX} files are there")
    return filesystem, files
