"""A folder of audio files: parts, or a label, by its sub-folders."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from caudal.data.audio.recordings import Found, Recording
from caudal.data.images.folder import natural
from caudal.data.images.pictures import part_of
from caudal.data.splits import TRAIN
from caudal.errors import InputError

SUFFIXES = (".wav", ".flac", ".ogg", ".mp3", ".opus", ".aiff", ".aif")
FOLDER = "folder"
"""The label that sub-folders give."""
METADATA = ("metadata.csv", "metadata.tsv", "metadata.txt")


def is_audio(path: Path) -> bool:
    """Whether a file looks like audio, by its name."""
    return path.suffix.casefold() in SUFFIXES


def stem_of(name: str) -> str:
    """The name of a recording without the suffix of its file."""
    return str(PurePosixPath(name).with_suffix("")) if is_audio(Path(name)) else name


def files_in(folder: Path) -> Iterator[Path]:
    """The files of a folder and its sub-folders without hidden ones; each folder once."""
    seen: set[tuple[int, int]] = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        status = os.stat(root)
        if (status.st_dev, status.st_ino) in seen:  # a link to a folder above
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(f for f in folders if not f.startswith((".", "__")))
        yield from (Path(root, name) for name in sorted(names) if not name.startswith("."))


def read_folder(folder: Path, name: str) -> Found:
    """The recordings of a folder and its sub-folders, in the natural order of their paths.

    Sub-folders named train, valid (val, validation) and test are the parts; other sub-folders,
    or those of the parts, are the label `folder`.

    Raises:
        InputError: no audio, or audio both inside and outside of the parts.
    """
    files: list[str] = []
    others: list[str] = []
    for path in files_in(folder):
        chosen = files if is_audio(path) else others
        chosen.append(path.relative_to(folder).as_posix())
    if not files:
        raise InputError(f"{name} holds no audio: {' '.join(SUFFIXES)} files are looked for")
    others = sorted((file for file in others if file not in METADATA), key=natural)
    more = f" and {len(others) - 3} more" if len(others) > 3 else ""
    note = f"passed over files of other kinds in {name}: {', '.join(others[:3])}{more}"
    parts = _parts(sorted(files, key=natural), folder, name)
    return Found(name, parts, (note,) if others else (), folder)


def read_file(path: Path, name: str) -> Found:
    """One recording."""
    return Found(name, {TRAIN: [Recording(path.name, name, path)]})


def _parts(files: list[str], folder: Path, name: str) -> dict[int, list[Recording]]:
    inside = [part_of(file.partition("/")[0]) if "/" in file else None for file in files]
    if any(part is not None for part in inside) and None in inside:
        file = files[inside.index(None)]
        raise InputError(
            f"{name} has folders of parts, and {file} beside them: move it into one of them"
        )
    found: dict[int, list[Recording]] = {}
    for number, (file, part) in enumerate(zip(files, inside, strict=True)):
        above = file.split("/")[0 if part is None else 1 : -1]
        labels = {FOLDER: above[0]} if above else {}
        recording = Recording(file, f"{name}/{file}", folder / file, labels, number)
        found.setdefault(TRAIN if part is None else part, []).append(recording)
    return dict(sorted(found.items()))
