"""From words to a dataclass of options, by tyro; and what is wrong with them in one line."""

import io
from collections.abc import Sequence
from contextlib import redirect_stderr
from typing import Any, TypeVar

from caudal.cli.lists import one_value_each
from caudal.cli.plain import one_line
from caudal.errors import InputError

Options = TypeVar("Options")


def parse(
    kind: type[Options],
    words: Sequence[str],
    command: str,
    default: Options | None = None,
    description: str | None = None,
) -> Options:
    """Reads options; every field of `kind` is a flag, with its docstring as help.

    Prints help and exits where that is asked for; it begins with `description`, or with the
    docstring of `kind`.

    Raises:
        InputError: what is wrong with the words, in one line.
    """
    import tyro

    words = one_value_each(words)
    rest: dict[str, Any] = {"prog": command, "args": words, "description": description}
    rest["config"] = (tyro.conf.OmitArgPrefixes,)
    if default is not None:
        rest["default"] = default
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            options: Options = tyro.cli(kind, **rest)
            return options
    except SystemExit as end:
        if end.code in (0, None):
            raise
        text = one_line(said.getvalue())
    raise InputError(f"{text}; see {command} --help")
