"""From words to a dataclass of options, by tyro; and what is wrong with them in one line."""

import io
from collections.abc import Sequence
from contextlib import redirect_stderr
from typing import TypeVar

from caudal.cli.lists import one_value_each
from caudal.cli.plain import one_line
from caudal.errors import InputError

Options = TypeVar("Options")


def parse(
    kind: type[Options], words: Sequence[str], command: str, default: Options | None = None
) -> Options:
    """Reads options; every field of `kind` is a flag, with its docstring as help.

    Prints help and exits where that is asked for.

    Raises:
        InputError: what is wrong with the words, in one line.
    """
    import tyro

    words = one_value_each(words)
    config = (tyro.conf.OmitArgPrefixes,)
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            if default is None:
                return tyro.cli(kind, prog=command, args=words, config=config)
            return tyro.cli(kind, prog=command, args=words, config=config, default=default)
    except SystemExit as end:
        if end.code in (0, None):
            raise
        text = one_line(said.getvalue())
    raise InputError(f"{text}; see {command} --help")
