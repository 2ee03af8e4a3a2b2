"""The two ways things go wrong: the input is bad, or the numbers are."""

import re

_ARGUMENT = re.compile(r"`(\w+)(?:=([^`]*))?`")

_TUPLE = re.compile(r"(`\w+`) \(([^()]*)\):")

_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_BYTE = range(0xDC80, 0xDD00)
OR_NONE = ", or `None`"
"""How messages say that an argument may be None."""


class InputError(ValueError):
    """What the user gave cannot be used.

    The message is one line: what is wrong, where (file, row, column), and what to do about it.
    It names arguments as Python has them, in backticks: `batch_size`, `missing="drop"`. The
    command line shows them as its flags (`as_flags`), without a traceback, and exits with code 2.
    """


class NumericalError(ArithmeticError):
    """A computation failed (a non-finite loss, a solver that did not converge).

    The message says where and at which step; nothing goes on silently after it. The command line
    prints it without a traceback and exits with code 1.
    """


def one_line(error: BaseException, most: int | None = None) -> str:
    """What an error of another library says, in one line, at most so many characters of it.

    Backticks become quotes: within them a message of caudal names its own arguments.
    """
    return " ".join(str(error).replace("`", "'").split())[:most] or type(error).__name__


def printable(text: str) -> str:
    r"""The text with the characters written out that a terminal would obey or could not show.

    Such are control characters, as in names of columns, the marks that turn the direction of
    writing, and bytes of file names that are no UTF-8: an escape is shown as \x1b.
    """
    return _OBEYED.sub(_written_out, text)


def _written_out(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code - 0xDC00:02x}" if code in _BYTE else repr(match[0])[1:-1]


def as_flags(message: str) -> str:
    """The message with its arguments as flags: `missing="drop"` becomes --missing drop."""
    message = message.replace(OR_NONE, "")  # on the command line the flag is left out instead
    return _ARGUMENT.sub(_flag, _TUPLE.sub(_words, message))


def _words(argument: re.Match[str]) -> str:
    """The values of a tuple as they are typed."""
    values = argument[2].replace(",", "").replace("'", "")
    return f"{argument[1]} {values}:"


def _flag(argument: re.Match[str]) -> str:
    name, value = argument[1].replace("_", "-"), argument[2]
    if value is None or value == "True":
        return f"--{name}" if len(name) > 1 else f"-{name}"
    if value == "False":
        return f"--no-{name}"
    plain = value.strip("()").replace(",", "") if value.startswith("(") else value.replace('"', "")
    return f"--{name} {plain}"
