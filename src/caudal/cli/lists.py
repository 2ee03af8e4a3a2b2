"""Options that take several values: `--given a b` and `--given a --given b` say the same."""

import re
from collections.abc import Sequence

from caudal.errors import InputError

LISTS = ("--columns", "--context", "--types", "--given")
_SHORT = ("-n", "-h")
_NUMBER = re.compile(r"-[.\d]")


def flag_of(word: str) -> str:
    """The flag in a word such as `--out=x`."""
    return word.partition("=")[0]


def one_value_each(words: Sequence[str]) -> list[str]:
    """The same words with `--given=a --given=b` wherever several values follow one flag.

    Raises:
        InputError: a value that looks like an option.
    """
    found: list[str] = []
    flag, begun = "", False
    for word in words:
        if flag_of(word) in LISTS:
            flag, begun = flag_of(word), "=" in word
            found += [word] if begun else []
        elif flag and (not word.startswith("-") or _NUMBER.match(word)):
            found.append(f"{flag}={word}")
            begun = True
        else:
            if flag and not begun and not word.startswith("--") and word not in _SHORT:
                raise InputError(f"{flag} {word}: write {flag}={word} where a value begins with -")
            flag = ""
            found.append(word)
    return found
