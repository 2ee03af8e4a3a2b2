"""A folder of image files: classes, or parts, by its sub-folders."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from caudal.data.images.form import SUFFIXES
from caudal.data.images.pictures import Found, Pictures, part_of
from caudal.data.splits import TRAIN
from caudal.errors import InputError


def read_folder(folder: Path, name: str) -> Found:
    """The images of a folder and its sub-folders, in the natural order of their paths.

    Sub-folders named train, valid (val, validation) and test are the parts; other sub-folders,
    or those of the parts, are the classes.

    Raises:
        InputError: no images, or images both inside and outside of the parts.
    """
    files, others = _walk(folder)
    if not files:
        raise InputError(f"{name} holds no images: {' '.join(SUFFIXES)} files are looked for")
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    note = f"passed over files of other kinds in {name}: {', '.join(others[:3])}{more}"
    return Found(name, _parts(files, name), (note,) if others else ())


def read_file(path: Path, name: str) -> Found:
    """One image."""
    return Found(name, {TRAIN: Pictures(name, 1, lambda: iter([path]), files=[""])})


def natural(path: str) -> list[tuple[int, int, str]]:
    """A key by which a/2.png comes before a/10.png."""
    pieces = re.split(r"(\d+)", path)
    return [(1, 0, t) if i % 2 == 0 else (0, int(t), t) for i, t in enumerate(pieces)]


def _walk(folder: Path) -> tuple[list[str], list[str]]:
    """The paths of the images and of other files, relative to the folder."""
    images: list[str] = []
    others: list[str] = []
    for path in _files(folder):
        chosen = images if path.suffix.casefold() in SUFFIXES else others
        chosen.append(path.relative_to(folder).as_posix())
    return sorted(images, key=natural), sorted(others, key=natural)


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [f for f in folders if not f.startswith((".", "__"))]
        yield from (Path(root, name) for name in names if not name.startswith("."))


def _parts(files: list[str], name: str) -> dict[int, Pictures]:
    chosen: dict[int, list[str]] = {}
    outside: list[str] = []
    for file in files:
        top, slash, _ = file.partition("/")
        part = part_of(top) if slash else None
        (outside if part is None else chosen.setdefault(part, [])).append(file)
    if not chosen:
        return {TRAIN: _pictures(outside, name, 0)}
    if outside:
        raise InputError(
            f"{name} has folders of parts, and {outside[0]} beside them: move it into one of them"
        )
    return {part: _pictures(chosen[part], name, 1) for part in sorted(chosen)}


def _pictures(files: list[str], name: str, depth: int) -> Pictures:
    """Images whose class is the folder at that depth of their path."""
    folders = [file.split("/")[depth:-1] for file in files]
    labels = [f[0] if f else None for f in folders]
    classes = labels if any(label is not None for label in labels) else None
    root = Path(name)
    return Pictures(name, len(files), lambda: (root / file for file in files), classes, files)
