"""Tables into NumPy's files, whose headers state the number and the type of the values.

Rows are kept in a file beside until all are there, so that they need no memory.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pyarrow as pa

from caudal.data import dtypes
from caudal.data.handles import sink_of, source_of
from caudal.data.table.frames import column_array
from caudal.errors import InputError

Write = Callable[[pa.Table], None]


@contextmanager
def write_npy(path: Path) -> Iterator[Write]:
    """One matrix (N, D), of a type that holds all columns."""
    with _kept(path) as kept:
        yield kept.write
        kept.close()
        columns = range(len(kept.names))
        dtype = np.result_type(*(kept.dtype(i) for i in columns))
        with path.open("wb") as file:
            _write_header(file, dtype, (kept.rows, len(columns)))
            for pieces in zip(*(kept.arrays(i) for i in columns), strict=True):
                file.write(np.stack(pieces, 1).astype(dtype).tobytes())


@contextmanager
def write_npz(path: Path) -> Iterator[Write]:
    """One array a column, under the column's name."""
    with _kept(path) as kept:
        yield kept.write
        kept.close()
        with ZipFile(path, "w", ZIP_DEFLATED) as archive:  # np.savez cannot name an array "file"
            for i, name in enumerate(kept.names):
                dtype = kept.dtype(i)
                with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                    _write_header(file, dtype, (kept.rows,))
                    for array in kept.arrays(i):
                        file.write(array.astype(dtype).tobytes())


class _Kept:
    """Tables in an Arrow file, to be read again column by column."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, 0
        self.names: list[str] = []
        self._writer: Any = None

    def write(self, table: pa.Table) -> None:
        """Appends rows."""
        table = pa.table([dtypes.plain(c) for c in table.columns], names=table.column_names)
        if self._writer is None:
            self._sink = sink_of(self.path)
            self._writer = pa.ipc.new_file(self._sink, table.schema)
        self._writer.write_table(table)
        self.names, self.rows = table.column_names, self.rows + table.num_rows

    def close(self) -> None:
        """Ends the file, so that it can be read."""
        if self._writer is not None and not self._sink.closed:
            self._writer.close()
            self._sink.close()

    def arrays(self, column: int) -> Iterator[np.ndarray]:
        """The column of that number, piece by piece."""
        options = pa.ipc.IpcReadOptions(included_fields=[column])
        with (
            source_of(self.path) as source,
            pa.ipc.open_file(source, options=options) as file,
        ):
            for i in range(file.num_record_batches):
                yield column_array(pa.chunked_array([file.get_batch(i).column(0)]))

    def dtype(self, column: int) -> np.dtype:
        """The type that holds all values of a column.

        Raises:
            InputError: they are lists and the like, which have none.
        """
        dtype = np.result_type(*{array.dtype for array in self.arrays(column)})
        if dtype.hasobject:
            name = self.names[column]
            raise InputError(f"column '{name}' has no array of its values: write .parquet")
        return dtype


@contextmanager
def _kept(path: Path) -> Iterator[_Kept]:
    """Tables in a file beside `path`, which is gone in the end."""
    with TemporaryDirectory(prefix=".caudal-", dir=path.parent) as folder:
        kept = _Kept(Path(folder) / "kept.arrow")
        try:
            yield kept
        finally:
            kept.close()


def _write_header(file: Any, dtype: np.dtype, shape: tuple[int, ...]) -> None:
    descr = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
