"""What the system says when it will not write, in one line."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from caudal.errors import InputError


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an error of the system into one line that names `path`.

    Raises:
        InputError: says why it cannot be written.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot write {path}: {reason}; choose another place") from None
