"""Files and folders that commands write: checked before the work, not after it."""

import os
from pathlib import Path

from caudal.data import AudioWriter, TableWriter
from caudal.data.images.grid import SUFFIXES
from caudal.data.images.output import ImageWriter
from caudal.errors import InputError
from caudal.training.interruption import Interrupted
from caudal.training.run import Run


def open_output(path: str, overwrite: bool) -> TableWriter:
    """A writer for a table file.

    Raises:
        InputError: an unknown suffix, no right to write there, or a file that is there already.
    """
    writer = TableWriter(path)
    if writer.path.exists() and not overwrite:
        raise InputError(f"{path} exists: give --overwrite to replace it, or another --out")
    check_writable(writer.path.parent)
    return writer


def open_images_output(
    path: str, overwrite: bool, across: int | None = None, label: str = ""
) -> ImageWriter:
    """A writer for images; `across` and `label` are of a sheet.

    Raises:
        InputError: as `open_output`.
    """
    writer = ImageWriter(path, across, label)
    if writer.path.is_file() and not overwrite:
        raise InputError(f"{path} exists: give --overwrite to replace it, or another --out")
    check_writable(writer.path.parent)
    return writer


def open_audio_output(path: str, overwrite: bool, rate: int) -> AudioWriter:
    """A writer for clips of so many samples a second.

    Raises:
        InputError: as `open_output`.
    """
    writer = AudioWriter(path, rate)
    if writer.path.is_file() and not overwrite:
        raise InputError(f"{path} exists: give --overwrite to replace it, or another --out")
    check_writable(writer.path.parent)
    return writer


def open_picture(path: str, overwrite: bool) -> Path:
    """The path of one picture, checked.

    Raises:
        InputError: as `open_output`.
    """
    if Path(path).suffix.casefold() not in SUFFIXES:
        raise InputError(f"{path}: a picture is one of {' '.join(SUFFIXES)}")
    return open_images_output(path, overwrite).path


def check_run_folder(path: Path, overwrite: bool) -> None:
    """Refuses a folder that a new run would damage.

    Raises:
        InputError: a run is there, or other files are, or nothing can be written.
    """
    if path.exists() and not path.is_dir():
        raise InputError(f"{path} is a file: give another --out")
    check_writable(path)
    if overwrite or not path.exists():
        return
    if Run(path).started():
        raise InputError(
            f"{path} holds a run: --resume goes on with it, --overwrite replaces it, "
            f"another --out leaves it alone"
        )
    others = [entry.name for entry in path.iterdir() if entry.name != "config.yaml"]
    if others:
        raise InputError(
            f"{path} is a folder with other files ({sorted(others)[0]}): give another --out"
        )


def check_writable(folder: Path) -> None:
    """Refuses a folder in which, or instead of which, nothing can be written.

    Raises:
        InputError: says which folder it is.
    """
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise InputError(f"{folder} is a file, not a folder: choose another place")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: no right to write there; choose another place")


def with_advice(error: KeyboardInterrupt, out: Path, command: str) -> KeyboardInterrupt:
    """The same interruption, saying what to type to go on, if anything was saved."""
    if isinstance(error, Interrupted):
        return Interrupted(f"{error}: {command}", error.exit_code)
    if not Run(out).state_path.exists():
        return error
    return KeyboardInterrupt(f"interrupted; what was trained is in {out}: {command}")
