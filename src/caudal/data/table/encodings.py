"""The encoding of a text file: by its mark, by its bytes, or the one in which words look right."""

import codecs
import re
from pathlib import Path

from caudal.data.refusals import damage
from caudal.data.table.dialect import SAMPLE, stream_of

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
OTHERS = ("cp1252", "cp1250", "iso8859-2", "mac-roman", "cp1251", "koi8-r")
"""Encodings of one byte a letter; where two look as right, the first is taken."""
_TELLING = 1 << 16  # bytes of lines with letters beyond ASCII that are looked at
_WORD = re.compile(r"[^\W\d_]+")
_LETTER = r"[^\W\d_]"
_SYMBOL = re.compile(
    r"[\x80-\x9f]"  # control characters
    rf"|[²³¹](?={_LETTER})"
    rf"|[^\w\s\x00-\x7f§·«»¡¿£€¥¢©®ª‐-‧](?={_LETTER})"  # what no word begins with
    rf"|(?<={_LETTER})[§«»¡¿“”„‚†‡•…](?={_LETTER})"  # nor holds
)
_CYRILLIC = re.compile(r"[\u0400-\u04ff]")


def find_encoding(path: Path, name: str) -> str:
    """The encoding of a text file, all of whose bytes are read unless it begins with a mark.

    Raises:
        InputError: the file is damaged.
    """
    with damage(name), stream_of(path, name) as stream:
        start = stream.read(SAMPLE)
        for mark, encoding in _MARKS:
            if start.startswith(mark):
                return encoding
        if (wide := _without_mark(start)) is not None:
            return wide
        decoder = codecs.getincrementaldecoder("utf-8")()
        seen, telling = set[int](), b""
        is_utf8 = True
        while start:
            if not start.isascii():
                if is_utf8:
                    try:
                        decoder.decode(start)
                    except UnicodeDecodeError:
                        is_utf8 = False
                seen |= set(start)
                if len(telling) < _TELLING:
                    lines = (line for line in start.split(b"\n") if not line.isascii())
                    telling = (telling + b"\n".join(lines))[:_TELLING]
            start = stream.read(SAMPLE << 3)
    return "utf-8" if is_utf8 else _likeliest(bytes(seen), telling)


def _without_mark(start: bytes) -> str | None:
    """UTF-16 that does not begin with its mark: every other byte of plain text is 0."""
    half = len(start) // 2
    for place, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        if half and start[place::2].count(0) > half / 2 and start[1 - place :: 2].count(0) == 0:
            return encoding
    return None


def _likeliest(seen: bytes, telling: bytes) -> str:
    """The encoding that has all bytes of a file, and makes the fewest odd places of some of it."""
    odd = {}
    for encoding in OTHERS:
        try:
            seen.decode(encoding)
        except UnicodeDecodeError:
            continue
        odd[encoding] = _oddities(telling.decode(encoding))
    return min(odd, key=odd.__getitem__, default="latin-1")


def _oddities(text: str) -> int:
    """How many places of a text no one would write.

    Capitals behind small letters, letters of two scripts in a word, and words of accents alone,
    as far as letters beyond ASCII are in it; control characters, and symbols before or in words.
    """
    odd = len(_SYMBOL.findall(text))
    for word in _WORD.findall(text):
        if word.isascii():
            continue
        pairs = zip(word, word[1:], strict=False)
        odd += sum(a.islower() and b.isupper() and not (a + b).isascii() for a, b in pairs)
        cyrillic = len(_CYRILLIC.findall(word))
        if cyrillic:
            odd += min(cyrillic, len(word) - cyrillic)
        elif len(word) > 2 and not any(map(str.isascii, word)):
            odd += len(word)
    return odd
