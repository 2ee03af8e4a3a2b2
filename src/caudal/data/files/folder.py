"""A folder of files: each of them once, parts and labels by sub-folders or by a table."""

import csv
import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from caudal.data.files.lots import AUDIO, IMAGES, FileKind, Listing, Lot, natural, typed
from caudal.data.splits import TRAIN, part_of
from caudal.errors import InputError, one_line, printable
from caudal.files import check_regular

_MOST = 20_000  # files looked at to judge what a folder holds
_SHOWN = 3
METADATA = ("metadata.csv", "metadata.tsv", "metadata.txt")
_FILE = ("file", "path", "filename", "file_name", "name")
_LJSPEECH = ["file", "text", "normalized"]


class Walk:
    """Goes through the files of a folder and its sub-folders, without hidden ones.

    Links are followed, but each file is given once: what is reached without links comes first, and
    a link to a file or folder that was gone through already is left out.

    Attributes:
        again: the links that were left out, relative to the folder.
        special: devices and pipes, which are left out too.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.again: list[str] = []
        self.special: list[str] = []
        self._folders: set[str] = set()
        self._files: set[str] = set()

    def __iter__(self) -> Iterator[Path]:
        links: list[Path] = []
        yield from self._walk(self.folder, links)
        while links:
            path = links.pop(0)
            real = os.path.realpath(path)
            if real in self._folders or self._is_read(real):
                self.again.append(path.relative_to(self.folder).as_posix())
            elif os.path.exists(real) and not os.path.isfile(real) and not os.path.isdir(real):
                self.special.append(path.relative_to(self.folder).as_posix())
            elif os.path.isdir(real):
                yield from self._walk(path, links)
            else:  # a link to nothing is refused when it is read
                self._files.add(real)
                yield path

    def _walk(self, folder: str | Path, links: list[Path]) -> Iterator[Path]:
        """The files that are reached without links; links are put aside."""
        real = os.path.realpath(folder)
        if real in self._folders:  # a link led to a folder above
            return
        self._folders.add(real)
        try:
            with os.scandir(folder) as unsorted:
                entries = sorted(unsorted, key=lambda entry: entry.name)
        except OSError:  # a folder without the right to look into it
            return
        for entry in entries:
            name = entry.name
            if name.startswith(".") or (name.startswith("__") and entry.is_dir()):
                continue
            if entry.is_symlink():
                links.append(Path(entry.path))
            elif entry.is_dir():
                yield from self._walk(entry.path, links)
            elif not entry.is_file():
                self.special.append(Path(entry.path).relative_to(self.folder).as_posix())
            elif os.path.join(real, name) not in self._files:
                yield Path(entry.path)

    def _is_read(self, real: str) -> bool:
        """Whether a file was gone through, by its real path."""
        folder, name = os.path.split(real)
        seen = folder in self._folders and not name.startswith(".") and os.path.isfile(real)
        return seen or real in self._files


def kind_of_folder(folder: Path) -> FileKind | None:
    """What a folder holds: audio if that is more than the images, else images; None if empty."""
    files = list(islice(Walk(folder), _MOST))
    if sum(map(AUDIO.fits, files)) > sum(map(IMAGES.fits, files)):
        return AUDIO
    return IMAGES if files else None


def read_folder(folder: Path, name: str, kind: FileKind) -> Listing:
    """The images or clips of a folder and its sub-folders, in the natural order of their paths.

    Sub-folders named train, valid (val, validation) and test are the parts. Other sub-folders, or
    those of the parts, give the label `kind.label`.

    Raises:
        InputError: there are no such files, or some inside and some outside of the parts.
    """
    walk = Walk(folder)
    files: list[str] = []
    others: list[str] = []
    for path in walk:
        (files if kind.fits(path) else others).append(path.relative_to(folder).as_posix())
    if not files:
        known = " ".join(kind.suffixes)
        raise InputError(f"{name} holds no {kind.what}: {known} files are looked for")
    others = [file for file in others if file not in METADATA]
    notes = [
        f"passed over {what} {name}: {_some(paths)}"
        for what, paths in (
            ("files of other kinds in", others),
            ("links to files that were read already in", walk.again),
            ("devices and pipes in", walk.special),
        )
        if paths
    ]
    files.sort(key=natural)
    lot = lot_of_paths(files, [folder / file for file in files], name, kind)
    return Listing(kind, name, (lot,), tuple(notes), folder)


def read_file(path: Path, name: str, kind: FileKind, title: str) -> Listing:
    """One image or clip."""
    return Listing(kind, name, (Lot(name, [path], 1, [title], "{name}"),))


def lot_of_paths(files: list[str], raws: Sequence[Any], name: str, kind: FileKind) -> Lot:
    """A lot of files, whose paths tell their parts and their label.

    Raises:
        InputError: some are inside and some outside of the folders of parts.
    """
    inside = [part_of(file.partition("/")[0]) if "/" in file else None for file in files]
    if any(part is not None for part in inside) and None in inside:
        file = files[inside.index(None)]
        raise InputError(
            f"{name} has folders of parts, and {file} beside them: move it into one of them"
        )
    homes = np.array([TRAIN if part is None else part for part in inside])
    if kind.parts_first:
        order = np.argsort(homes, kind="stable").tolist()
        files, raws = [files[index] for index in order], [raws[index] for index in order]
        homes = homes[order]
    depth = 0 if None in inside else 1
    above = [file.split("/")[depth:-1] for file in files]
    values = [folders[0] if folders else None for folders in above]
    labels = {kind.label: values if kind.plain else typed(values)} if any(above) else {}
    return Lot(
        name,
        raws,
        len(files),
        [printable(f) for f in files],  # titles go into tables, and onto the screen
        "{name}/{title}",
        labels,
        homes,
    )


def _some(paths: list[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return f"{', '.join(sorted(paths, key=natural)[:_SHOWN])}{more}"


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
    check_regular(path)
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
        raise InputError(f"{name} cannot be read as a table: {one_line(error)}") from None
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
