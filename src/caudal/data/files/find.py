"""The files of a folder: each of them once, their parts and labels by their sub-folders."""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from caudal.data.files.labels import typed
from caudal.data.files.lots import AUDIO, IMAGES, FileKind, Listing, Lot, natural
from caudal.data.files.metadata import METADATA
from caudal.data.splits import TRAIN, part_of
from caudal.errors import InputError

_MOST = 20_000  # files looked at to judge what a folder holds
_SHOWN = 3


class Walk:
    """Goes through the files of a folder and its sub-folders, without hidden ones.

    Links are followed, but each file is given once: what is reached without links comes first, and
    a link to a file or folder that was gone through already is left out.

    Attributes:
        again: the links that were left out, relative to the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.again: list[str] = []
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
        )
        if paths
    ]
    lot = _lot(sorted(files, key=natural), folder, name, kind)
    return Listing(kind, name, (lot,), tuple(notes), folder)


def read_file(path: Path, name: str, kind: FileKind, title: str) -> Listing:
    """One image or clip."""
    return Listing(kind, name, (Lot(name, [path], 1, [title], "{name}"),))


def _lot(files: list[str], folder: Path, name: str, kind: FileKind) -> Lot:
    inside = [part_of(file.partition("/")[0]) if "/" in file else None for file in files]
    if any(part is not None for part in inside) and None in inside:
        file = files[inside.index(None)]
        raise InputError(
            f"{name} has folders of parts, and {file} beside them: move it into one of them"
        )
    homes = np.array([TRAIN if part is None else part for part in inside])
    if kind.parts_first:
        order = np.argsort(homes, kind="stable")
        files, homes = [files[index] for index in order.tolist()], homes[order]
    depth = 0 if None in inside else 1
    above = [file.split("/")[depth:-1] for file in files]
    values = [folders[0] if folders else None for folders in above]
    labels = {kind.label: values if kind.plain else typed(values)} if any(above) else {}
    return Lot(
        name, [folder / f for f in files], len(files), files, "{name}/{title}", labels, homes
    )


def _some(paths: list[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return f"{', '.join(sorted(paths, key=natural)[:_SHOWN])}{more}"
