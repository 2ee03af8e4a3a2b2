"""A table with a row for each file, whose other columns are labels."""

import csv
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from caudal.data.files.lots import FileKind, Listing, Lot
from caudal.errors import InputError

METADATA = ("metadata.csv", "metadata.tsv", "metadata.txt")
_FILE = ("file", "path", "filename", "file_name", "name")
_LJSPEECH = ["file", "text", "normalized"]


@dataclass(frozen=True)
class Metadata:
    """Rows by the file that they are about.

    Attributes:
        name: what errors call the table.
        columns: all columns but the one that names the file.
        rows: the values of those columns, by the name of the file as the table has it.
    """

    name: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[str, ...]]

    def labels(self, lot: Lot, index: int, kind: FileKind) -> dict[str, str]:
        """The labels of one file, which the table may name without its folder or its suffix.

        Raises:
            InputError: the table does not have it.
        """
        for key in _keys(lot.title(index, index + 1), kind):
            if key in self.rows:
                return dict(zip(self.columns, self.rows[key], strict=True))
        raise InputError(
            f"{self.name} has no row for {lot.place(index)}: add it, or remove the file"
        )


def find_metadata(listing: Listing, path: str | Path | None) -> Metadata | None:
    """The table at `path`, or else the one in the folder itself, if there is one."""
    if path is not None:
        return read_metadata(Path(path), str(path))
    if listing.folder is None:
        return None
    paths = [listing.folder / name for name in METADATA]
    inside = next((path for path in paths if path.is_file()), None)
    return None if inside is None else read_metadata(inside, f"{listing.name}/{inside.name}")


def read_metadata(path: Path, name: str) -> Metadata:
    """Reads values that are separated by bars, tabs, semicolons or commas.

    The first row is a header if one of its names is file, path, filename or name. If not, the
    first column names the file; the others are called as in LJSpeech if there are two of them,
    else c1, c2, ...

    Raises:
        InputError: there is no such table, its rows differ in length, or a file is there twice.
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
    """The rows with the number of their line; spaces around values are dropped."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = next((line for line in file if line.strip()), "")
            file.seek(0)
            # Bars come first: a text between bars may have more commas than there are bars.
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
        raise InputError(f"no file {name}: `metadata` is a table with a row a file") from None
    except UnicodeDecodeError:
        raise InputError(f"{name} is no UTF-8 text: save it as UTF-8") from None
    except (OSError, csv.Error) as error:
        raise InputError(f"{name} cannot be read as a table: {error}") from None
    if not table:
        raise InputError(f"{name} is empty: give a row for each file")
    return table


def _keys(title: str, kind: FileKind) -> list[str]:
    """The names under which a table may have a file."""
    base = PurePosixPath(title).name
    return [_plain(key) for key in (title, kind.stem(title), base, kind.stem(base))]


def _plain(file: str) -> str:
    """A file name in the form on which all systems agree."""
    return unicodedata.normalize("NFC", file.replace("\\", "/").removeprefix("./"))
