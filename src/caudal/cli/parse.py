"""From words to a dataclass of options, by tyro; and what is wrong with them in one line."""

import io
import re
from collections.abc import Sequence
from contextlib import redirect_stderr
from typing import TypeVar

from caudal.errors import InputError

Options = TypeVar("Options")
_FRAME = re.compile(r"[│╭╮╰╯─]")
_RULE = re.compile(r"^[\s│]*[─-]{10,}[\s│]*$")
_PREFIX = re.compile(r"^Error parsing (data|recipe|training|--[\w-]+): (?=--)")


def parse(
    kind: type[Options], words: Sequence[str], command: str, default: Options | None = None
) -> Options:
    """Reads options; every field of `kind` is a flag, with its docstring as help.

    Prints help and exits where that is asked for.

    Raises:
        InputError: what is wrong with the words, in one line.
    """
    import tyro

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


def one_line(box: str) -> str:
    """What a framed message of tyro says, without frame, headings and advice."""
    blocks: list[list[str]] = [[]]
    for line in box.strip().splitlines()[1:]:  # the first is a title
        if _RULE.match(line):
            blocks.append([])
        elif text := _FRAME.sub("", line).strip():
            blocks[-1].append(text)
    parts = [" ".join(block) for block in blocks if block]
    kept = [part for part in parts if not part.startswith(("For full helptext", "Argument help"))]
    text = "; ".join(kept) or "these options cannot be read"
    text = _PREFIX.sub("", text)
    return text[0].lower() + text[1:] if text.split()[0].istitle() else text
