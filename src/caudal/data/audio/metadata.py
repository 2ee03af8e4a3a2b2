"""A table with a row for each file: what is said of it, or in it."""

import csv
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from caudal.data.audio.folder import METADATA, stem_of
from caudal.data.audio.recordings import Found, Recording
from caudal.errors import InputError

_FILE = ("file", "path", "filename", "file_name", "name")
_LJSPEECH = ["file", "text", "normalized"]


@dataclass(frozen=True)
class Metadata:
    """Rows by the file that they are about.

    Attributes:
        name: what errors call the table.
        columns: all but that of the file.
        rows: the values of those columns, by the file as the table has it.
    """

    name: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[str, ...]]

    def labels(self, recording: Recording) -> dict[str, str]:
        """What the table says of a recording: its file may be given without folder or suffix.

        Raises:
            InputError: the table does not have it.
        """
        for key in _keys(recording.name):
            if key in self.rows:
                return dict(zip(self.columns, self.rows[key], strict=True))
        raise InputError(
            f"{self.name} has no row for {recording.place}: add it, or remove the file"
        )


def find_metadata(found: Found, given: str | Path | None) -> Metadata | None:
    """The table that was given, or else the one in the folder, if there is one."""
    if given is not None:
        return read_metadata(Path(given), str(given))
    if found.folder is None:
        return None
    paths = [found.folder / name for name in METADATA]
    there = next((path for path in paths if path.is_file()), None)
    return None if there is None else read_metadata(there, f"{found.name}/{there.name}")


def read_metadata(path: Path, name: str) -> Metadata:
    """Reads values that are separated by bars, tabs, semicolons or commas.

    The first row is a header if one of its names is file, path, filename or name. If not, the
    first column is the file, and the others are called as in LJSpeech if there are two, else c1,
    c2, ...

    Raises:
        InputError: no such table, or rows of other lengths, or a file twice.
    """
    table = _read(path, name)
    first = [cell.casefold() for cell in table[0][1]]
    key = next((first.index(word) for word in _FILE if word in first), None)
    if key is None:
        count = len(first)
        header = _LJSPEECH if count == 3 else ["file", *(f"c{i}" for i in range(1, count))]
    else:
        header, table = table[0][1], table[1:]
    rows: dict[str, tuple[str, ...]] = {}
    for line, cells in table:
        if len(cells) != len(header):
            raise InputError(
                f"{name}, line {line}: {len(cells)} values, others have {len(header)}: correct it"
            )
        file = _plain(cells[key or 0])
        if file in rows:
            raise InputError(f"{name}, line {line}: '{file}' is there twice: remove one row")
        rows[file] = tuple(cell for i, cell in enumerate(cells) if i != (key or 0))
    columns = tuple(column for i, column in enumerate(header) if i != (key or 0))
    return Metadata(name, columns, rows)


def _read(path: Path, name: str) -> list[tuple[int, list[str]]]:
    """The rows with the number of their line, each value without spaces around."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = next((line for line in file if line.strip()), "")
            file.seek(0)
            # A text between bars may have more commas than there are bars.
            delimiter = next((sign for sign in "|\t;," if sign in first), ",")
            # Texts between bars or tabs hold quotes as they are.
            quoted = delimiter in ",;"
            reader = csv.reader(
                file,
                delimiter=delimiter,
                quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
            )
            table = [(reader.line_num, [cell.strip() for cell in row]) for row in reader if row]
    except FileNotFoundError:
        raise InputError(f"no file {name}: --metadata is a table with a row a file") from None
    except UnicodeDecodeError:
        raise InputError(f"{name} is no UTF-8 text: save it as UTF-8") from None
    except (OSError, csv.Error) as error:
        raise InputError(f"{name} cannot be read as a table: {error}") from None
    if not table:
        raise InputError(f"{name} is empty: give a row for each file")
    return table


def _keys(name: str) -> list[str]:
    base = PurePosixPath(name).name
    return [_plain(key) for key in (name, stem_of(name), base, stem_of(base))]


def _plain(file: str) -> str:
    """A file name as systems agree on it."""
    return unicodedata.normalize("NFC", file.replace("\\", "/").removeprefix("./"))
