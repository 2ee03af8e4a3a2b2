"""Tables into files, piece by piece: nothing is there until all of it is."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType

import pyarrow as pa

from caudal.data import dtypes
from caudal.data.formats import Opener, Write, write_npy, write_npz, write_parquet, write_text
from caudal.data.text import COMPRESSED
from caudal.data.writing import writing
from caudal.errors import InputError
from caudal.files import atomic

_TEXT = {".csv": ",", ".tsv": "\t"}
_OTHERS: dict[str, Opener] = {".parquet": write_parquet, ".npy": write_npy, ".npz": write_npz}
FORMATS = f"{' '.join(_TEXT)} (also with {' '.join(COMPRESSED)}) {' '.join(_OTHERS)}"


class TableWriter:
    """Writes tables one after the other into one file, as a context manager.

    Nothing is at `path` until the block ends well; then the whole file is. The suffix chooses the
    format: `.npy` is one matrix of numbers, `.npz` one array a column, under its name.

    Raises:
        InputError: at once, for an unknown suffix or a folder at `path`.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._open = _opener(self.path)
        self._stack = ExitStack()
        self._write: Write | None = None
        self._schema: pa.Schema | None = None

    def __enter__(self) -> "TableWriter":
        with writing(self.path), ExitStack() as stack:
            temporary = stack.enter_context(atomic(self.path))
            self._write = stack.enter_context(self._open(temporary))
            self._stack = stack.pop_all()
        return self

    def check(self, schema: pa.Schema) -> None:
        """Refuses columns that the format cannot hold, before there are rows.

        Raises:
            InputError: names the file, the column, and formats that can.
        """
        if self.path.suffix != ".npy":
            return
        for field in schema:
            if dtypes.is_text(dtypes.value_type(field.type)):
                raise InputError(
                    f"{self.path}: column '{field.name}' is text, .npy holds numbers: write .npz, "
                    f".csv or .parquet"
                )

    def write(self, table: pa.Table) -> None:
        """Appends rows; each table has the columns of the first.

        Raises:
            InputError: other columns, or values that the format cannot hold.
        """
        if self._write is None:
            raise RuntimeError("write inside the with-block")
        if self._schema is not None and self._schema != table.schema:
            raise InputError(f"{self.path}: the pieces of one table must have the same columns")
        self.check(table.schema)
        self._schema = table.schema
        with writing(self.path):
            self._write(table)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with writing(self.path), self._stack as stack:
            if error is not None:
                stack.__exit__(kind, error, trace)
            elif self._schema is None:
                raise InputError(f"{self.path}: there are no rows to write")


def _opener(path: Path) -> Opener:
    if path.is_dir():
        raise InputError(f"{path} is a folder: give a file name ({FORMATS})")
    if path.suffix in _OTHERS:
        return _OTHERS[path.suffix]
    packed = COMPRESSED.get(path.suffix)
    suffix = Path(path.stem).suffix if packed else path.suffix
    if suffix in _TEXT:
        return partial(write_text, delimiter=_TEXT[suffix], compression=packed)
    raise InputError(f"{path}: cannot write '{path.suffix}' files; known are {FORMATS}")
