"""Writing results: checks before the work, and nothing at a path until all of it is there."""

import errno
import glob
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from caudal.errors import InputError
from caudal.files import atomic, atomic_folder, check_regular, path_of, sweep

PICTURES = (".png", ".jpg", ".jpeg", ".webp")
"""The suffixes of pictures that can be written."""
_FAILED_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
Opener = Callable[[Path], AbstractContextManager[Callable[..., None]]]
"""Opens a path and yields a function that appends to what is written there."""


class Writer(ABC):
    """Writes one lot after the other into a file or a folder, as a context manager.

    Nothing is at `path` until the block ends well; then all of it is.

    Attributes:
        path: where to.
        many: the word for what is written, such as "rows".
        formats: what can be written, in words.
    """

    many: ClassVar[str]
    formats: ClassVar[str]

    def __init__(self, path: str | Path) -> None:
        self.path = path_of(path)
        self._open = self._opener()
        self._stack = ExitStack()
        self._append: Callable[..., None] | None = None
        self._is_empty = True

    def prepare(self, overwrite: bool) -> None:
        """Checks, before the work is done, that its result can be written.

        Raises:
            InputError: as `prepare_output`.
        """
        prepare_output(self.path, overwrite)

    def expect(self, count: int) -> None:  # noqa: B027 - most formats hold any number
        """Refuses more items than the format can hold, before there are any."""

    @property
    def suffix(self) -> str:
        """The suffix that chooses the format, in lower case; of a folder it is empty."""
        return self.path.suffix.casefold()

    @abstractmethod
    def _opener(self) -> Opener:
        """What opens the path.

        Raises:
            InputError: the suffix is unknown, or something is in the way.
        """

    def __enter__(self) -> Self:
        with writing(self.path), ExitStack() as stack:
            make = atomic if self.path.suffix else atomic_folder
            temporary = stack.enter_context(make(self.path))
            self._append = stack.enter_context(self._open(temporary))
            self._stack = stack.pop_all()
        return self

    def _add(self, *lot: Any) -> None:
        """Appends a lot that was checked."""
        if self._append is None:
            raise RuntimeError("write inside the with-block")
        self._is_empty = False
        with writing(self.path):
            self._append(*lot)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._append = None
        with writing(self.path), self._stack as stack:
            if error is not None:
                stack.__exit__(kind, error, trace)
            elif self._is_empty:
                raise InputError(f"{self.path}: there are no {self.many} to write")

    def _refuse_folder(self) -> None:
        if self.path.is_dir():
            raise InputError(f"{self.path} is a folder: give another name ({self.formats})")

    def _refuse_taken(self) -> None:
        if self.path.is_file() or (self.path.is_dir() and any(self.path.iterdir())):
            raise InputError(
                f"{self.path} is there already: {self.many} go to a new folder, or an empty one"
            )

    def _unknown(self) -> InputError:
        suffix = self.path.suffix
        what = f"cannot write '{suffix}' files" if suffix else "no suffix, which chooses the form"
        return InputError(f"{self.path}: {what}; known are {self.formats}")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an error of the system into one line that names `path`.

    Raises:
        OSError: the disk is full, or failed: no other choice of the user's would have helped.
        InputError: says why it cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FAILED_DISK:
            raise OSError(error.errno, os.strerror(error.errno), str(path)) from None
        reason = error.strerror or str(error)
        raise InputError(f"cannot write {path}: {reason}; choose another place") from None


def prepare_output(path: str | Path, overwrite: bool) -> None:
    """Checks, before the work is done, that its result can be written.

    Raises:
        InputError: as `refuse_existing` and `check_writable`.
    """
    path = Path(path)
    refuse_existing(path, overwrite)
    check_writable(path.parent)
    sweep(path.parent, f".[0-9]*.{glob.escape(path.name)}")


def prepare_picture(path: str | Path, overwrite: bool) -> Path:
    """The path of one picture, checked.

    Raises:
        InputError: it is no picture by its suffix, or as `prepare_output`.
    """
    if path_of(path).suffix.casefold() not in PICTURES:
        raise InputError(f"{path}: a picture is one of {' '.join(PICTURES)}")
    prepare_output(path, overwrite)
    return Path(path)


def refuse_existing(path: str | Path, overwrite: bool) -> None:
    """Refuses to replace a file, unless that was asked for."""
    if not Path(path).is_dir():
        check_regular(Path(path))
    if Path(path).is_file() and not overwrite:
        raise InputError(f"{path} exists: give `overwrite=True` to replace it, or another `out`")


def check_writable(folder: Path) -> None:
    """Refuses a folder in which, or in place of which, nothing can be written."""
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise InputError(f"{folder} is a file, not a folder: choose another place")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: no right to write there; choose another place")
