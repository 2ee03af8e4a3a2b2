"""Quotes in text files: around values, and within them doubled or behind backslashes."""

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Literal, NamedTuple

BLANK = " "
"""The delimiter that stands for any number of blanks and tabs."""
_PAIR = re.compile(rb"\\.", re.DOTALL)
_WITHIN = re.compile(rb'\\(["\\])')  # what is escaped within quotes


class Quoting(NamedTuple):
    """How a text file writes values that hold quotes, delimiters or ends of lines.

    Attributes:
        quotes: whether values may stand in quotes; else quotes are characters as others are.
        escape: what has a backslash before it: nothing, as in RFC 4180, which doubles quotes;
            "all" that would be misread; or "quotes" alone, so that the quote behind a backslash
            ends a value where a delimiter follows.
    """

    quotes: bool = True
    escape: Literal["all", "quotes"] | None = None


DOUBLED = Quoting()
"""Quotes as RFC 4180 has them."""
OTHERS = (Quoting(escape="all"), Quoting(escape="quotes"))
WITHOUT = (Quoting(quotes=False), Quoting(quotes=False, escape="all"))
"""What values between tabs may have, of which some programs quote none."""


class Plain(NamedTuple):
    """Text as RFC 4180 has it.

    Attributes:
        data: the text; it has as many lines as the original.
        broken: offsets in the original of quoted values with more text behind the closing quote.
        stray: offsets of values whose quotes are odd otherwise: some within a value that is not
            quoted, or around one where there should be none.
        open: the offset of a quoted value that does not end, or None.
    """

    data: bytes
    broken: Sequence[int] = ()
    stray: Sequence[int] = ()
    open: int | None = None


def plain(data: bytes, delimiter: str, quoting: Quoting) -> Plain:
    r"""Text that begins with a row, as RFC 4180 has it: quotes are doubled, nothing is escaped.

    Backslashes go only where they escape something: before quotes and backslashes, and in values
    without quotes also before delimiters and ends of lines. So `C:\dir` and `\N` stay.
    """
    if delimiter == BLANK:
        return Plain(data)
    broken, stray, unclosed = list[int](), list[int](), list[int]()
    bare_escape = _bare_escape(delimiter, quoting)

    def as_plain(match: re.Match[bytes]) -> bytes:
        value, kind = match[0], match.lastgroup
        if kind == "bare":
            unescaped = bare_escape.sub(rb"\1", value)
            if _is_odd(value, quoting):
                stray.append(match.start())
            elif quoting.quotes and unescaped == value:
                return value
            return b'"%b"' % unescaped.replace(b'"', b'""')
        if kind in ("broken", "stray"):
            (broken if kind == "broken" else stray).append(match.start())
            return value
        if kind == "open":
            unclosed.append(match.start())
        if not quoting.escape or b"\\" not in value:
            return value
        end = len(value) - (kind == "quoted")  # a closing quote is no escaped one
        if b"\\\\" in value:
            return _WITHIN.sub(_doubled, value[:end]) + value[end:]
        return value[:end].replace(b'\\"', b'""') + value[end:]

    text = _values(delimiter, quoting).sub(as_plain, data)
    return Plain(text, broken, stray, unclosed[0] if unclosed else None)


def plain_lines(lines: Iterable[str], delimiter: str, quoting: Quoting) -> list[str]:
    """Lines of text as RFC 4180 has them; there are as many."""
    return plain(joined(lines), delimiter, quoting).data.decode().split("\n")[:-1]


def joined(lines: Iterable[str]) -> bytes:
    """Lines as bytes of text."""
    return "".join(f"{line}\n" for line in lines).encode(errors="replace")


@cache
def doubtful(delimiter: str) -> re.Pattern[bytes]:
    """Where it may show that quotes are not as RFC 4180 has them.

    A backslash stands before what it may escape; or there is a quote between tabs, of which some
    programs quote no value.
    """
    quote = rb'|"' if delimiter == "\t" else b""
    return re.compile(rb'\\["\n%b]%b' % (re.escape(delimiter.encode()), quote))


def cells(line: str, delimiter: str, quoting: Quoting) -> list[str]:
    """The values of a row as they stand in it, with their quotes and escapes."""
    if delimiter == BLANK:
        return re.findall(r'"(?:[^"]|"")*"|\S+', line)
    pattern = _cell(delimiter, quoting)
    matches = list(pattern.finditer(line.encode(errors="replace")))
    found = [match[1].decode() for match in matches]
    goes_on = len(matches) > 1 and matches[-2][0] != matches[-2][1]  # behind a delimiter
    return found if goes_on else found[:-1]


def written(values: Iterable[str], delimiter: str, quoting: Quoting = DOUBLED) -> str:
    """A row of a text file that holds these values."""
    return delimiter.join(_as_cell(value, delimiter, quoting) for value in values)


def _as_cell(value: str, delimiter: str, quoting: Quoting) -> str:
    if quoting.escape is not None:
        value = value.replace("\\", "\\\\")
    if not quoting.quotes:
        special = rf'(["\n{re.escape(delimiter)}])'
        return re.sub(special, r"\\\1", value) if quoting.escape else value
    needed = any(mark in value for mark in ('"', "\n", "\r", delimiter)) or value != value.strip()
    # Where quotes alone are escaped, the one behind a backslash may be the last of its value.
    quote = '\\"' if quoting.escape == "all" else '""'
    return f'"{value.replace(chr(34), quote)}"' if needed else value


def _is_odd(value: bytes, quoting: Quoting) -> bool:
    """Whether a value without quotes around it has quotes where there should be none."""
    if quoting.quotes:
        return b'"' in _PAIR.sub(b"", value)
    return value[:1] == value[-1:] == b'"' != value


def _doubled(escaped: re.Match[bytes]) -> bytes:
    return b'""' if escaped[1] == b'"' else escaped[1]


@cache
def _bare_escape(delimiter: str, quoting: Quoting) -> re.Pattern[bytes]:
    """What is escaped in a value without quotes."""
    if quoting.escape is None:
        return re.compile(rb"(?!)()")
    further = rb"\n" + re.escape(delimiter.encode()) if quoting.escape == "all" else b""
    return re.compile(rb'\\(["\\%b])' % further)


def _within(end: bytes, quoting: Quoting) -> bytes:
    """What may stand within quotes: runs of characters, and escapes."""
    if quoting.escape is None:
        return rb'[^"]++|""'
    if quoting.escape == "all":
        return rb'[^"\\]++|""|\\(?:.|\Z)'
    return rb'[^"\\]++|""|\\\\|\\(?!["\\])|\\(?=%b)|\\"' % end


@cache
def _values(delimiter: str, quoting: Quoting) -> re.Pattern[bytes]:
    """Finds each value that has quotes or escapes; the last group that matches is its kind.

    The loops are possessive: no character is looked at twice.
    """
    stop = rb"%b\n" % re.escape(delimiter.encode())
    end = rb'"(?= *(?:[%b]|\Z))' % stop
    if quoting.escape == "all":
        special = b"" if quoting.quotes else b'"|'
        some = rb'[^%b\\"]*+' % stop if special else rb"[^%b\\]*+" % stop
        bare = rb"%b(?:(?:%b\\(?:(?!\n\Z).|(?=\n?\Z)))%b)++" % (some, special, some)
    elif quoting.escape == "quotes":
        bare = rb"(?=[^%b\\]*+\\)[^%b]++" % (stop, stop)
    else:
        bare = rb"(?!)" if quoting.quotes else rb'(?=[^%b"]*+")[^%b]++' % (stop, stop)
    kinds = [
        rb' *"(?:%b)*+(?:(?P<quoted>%b)|(?P<open>\Z))' % (_within(end, quoting), end),
        rb'(?P<broken> *"[^\n]*)',
        rb"(?P<bare>%b)" % bare,
        rb'(?P<stray>[^%b"]++"[^%b]*)' % (stop, stop),
    ]
    kinds = kinds if quoting.quotes else kinds[2:3]
    return re.compile(rb"(?:(?<=[%b])|\A)(?:%b)" % (stop, b"|".join(kinds)), re.DOTALL)


@cache
def _cell(delimiter: str, quoting: Quoting) -> re.Pattern[bytes]:
    """Finds each value of a row and the delimiter behind it."""
    stop = re.escape(delimiter.encode())
    end = rb'"(?= *(?:%b|\Z))' % stop
    quoted = rb'(?: *"(?:%b)*+")?+' % _within(end, quoting) if quoting.quotes else b""
    bare = rb"(?:[^%b\\]|\\(?:.|\Z))*+" if quoting.escape == "all" else rb"[^%b]*+"
    return re.compile(rb"(%b%b)(?:%b|\Z)" % (quoted, bare % stop, stop), re.DOTALL)
