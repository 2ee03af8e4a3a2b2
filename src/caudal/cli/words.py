"""From the words of a command line to dataclasses of options, by tyro; faults in one line."""

import io
import re
from collections.abc import Sequence
from contextlib import redirect_stderr
from dataclasses import fields, is_dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

from caudal.cli.metavars import registry
from caudal.errors import InputError
from caudal.training.run import read_config

Options = TypeVar("Options")
_NUMBER = re.compile(r"-[.\d]")
_SHORT = ("-n", "-h")
_DASH = "\x00"  # stands before values that begin with a dash, until they are parsed


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

    words = gathered(words, lists_of(kind))
    _refuse_empty(words, lists_of(kind), command)
    rest: dict[str, Any] = {"prog": command, "args": words, "description": description}
    rest["config"] = (tyro.conf.OmitArgPrefixes, tyro.conf.DisallowNone)
    rest["registry"] = registry()
    if default is not None:
        rest["default"] = default
    box = io.StringIO()
    try:
        with redirect_stderr(box):
            return _undashed(tyro.cli(kind, **rest))
    except SystemExit as end:
        if end.code in (0, None):
            raise
        text = one_line(box.getvalue())
    see = " See" if text.endswith("?") else "; see"
    raise InputError(f"{text}{see} {command} --help")


def lists_of(kind: Any) -> set[str]:
    """The flags of a dataclass, and of those in it, that take any number of values."""
    flags: set[str] = set()
    for name, hint in hints_of(kind):
        origin = get_origin(hint)
        if is_dataclass(hint):
            flags |= lists_of(hint)
        elif origin is tuple and hint.__args__[-1] is Ellipsis:
            flags.add(flag(name))
    return flags


def switches_of(kind: Any) -> set[str]:
    """The flags that take no value."""
    flags: set[str] = set()
    for name, hint in hints_of(kind):
        if is_dataclass(hint):
            flags |= switches_of(hint)
        elif hint is bool:
            flags |= {flag(name), f"--no-{flag(name)[2:]}"}
    return flags


def hints_of(kind: Any) -> list[tuple[str, Any]]:
    """The fields of a dataclass, also of a parametrised generic one, with their types."""
    origin = get_origin(kind) or kind
    hints = get_type_hints(origin)
    names = getattr(origin, "__parameters__", ())
    types = dict(zip(names, getattr(kind, "__args__", ()), strict=False))
    return [(f.name, types.get(hints[f.name], hints[f.name])) for f in fields(origin)]


def flag(name: str) -> str:
    """The flag of a field."""
    return f"--{name.replace('_', '-')}"


def gathered(words: Sequence[str], lists: set[str]) -> list[str]:
    """The same words with all values of a list behind its flag: `--given a --given=b` is one.

    Raises:
        InputError: a value that looks like an option.
    """
    kept: list[str] = []
    values: dict[str, list[str]] = {}
    current, fresh = "", False
    for word in words:
        name, equals, value = word.partition("=")
        if name in lists:
            current, fresh = name, not equals
            values.setdefault(name, []).extend([value] if equals else [])
        elif current and (not word.startswith("-") or _NUMBER.match(word)):
            values[current].append(word)
            fresh = False
        else:
            if fresh and not word.startswith("--") and word not in _SHORT:
                raise InputError(
                    f"{current} {word}: write {current}={word} where a value begins with -"
                )
            current, fresh = "", False
            kept.append(word)
    for name, some in values.items():
        kept += [
            name,
            *(f"{_DASH}{v}" if v.startswith("-") and not _NUMBER.match(v) else v for v in some),
        ]
    return kept


def _refuse_empty(words: Sequence[str], lists: set[str], command: str) -> None:
    """Refuses a list without a value, as an empty variable of a shell leaves it.

    Beside --config it takes the place of the list in that file.
    """
    for name, following in pairwise([*filter(None, words), "--"]):
        if name in lists and following.startswith("--") and "config" not in named(words):
            raise InputError(f"{name}: a value is missing; see {command} --help")


def _undashed(options: Any) -> Any:
    """The options without the marks that `gathered` put before dashes."""
    changes = {}
    for each in fields(options):
        value = getattr(options, each.name)
        if is_dataclass(value) and not isinstance(value, type):
            changes[each.name] = _undashed(value)
        elif isinstance(value, tuple) and any(isinstance(v, str) and _DASH in v for v in value):
            changes[each.name] = tuple(v.replace(_DASH, "") for v in value)
    return replace(options, **changes) if changes else options


def peek(words: Sequence[str], *names: str) -> dict[str, str | None]:
    """The values of some flags, before it is known which others there are."""
    import argparse

    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in names:
        parser.add_argument(flag(name), nargs="?", dest=name)
    return vars(parser.parse_known_args(list(words))[0])


def named(words: Sequence[str]) -> frozenset[str]:
    """The fields whose flags are among the words."""
    flags = (word.partition("=")[0] for word in words if word.startswith("--"))
    fields_of = (name.removeprefix("--").replace("-", "_") for name in flags)
    return frozenset(name for field in fields_of for name in (field, field.removeprefix("no_")))


def positional(words: Sequence[str], lists: set[str], switches: set[str]) -> str | None:
    """The first word that is neither a flag nor the value of one."""
    skip: str | None = None
    for word in words:
        if word.startswith("-") and not _NUMBER.match(word):
            name, equals, _ = word.partition("=")
            no_value = bool(equals) or name in switches or name in ("-h", "--help")
            skip = None if no_value else ("list" if name in lists else "one")
        elif skip is None:
            return word
        elif skip == "one":
            skip = None
    return None


def read_yaml(path: str | Path, option: str) -> dict[str, Any]:
    """The options in a file; keys are the names of flags, with _ or - between their words.

    Raises:
        InputError: there is no such file, or it is no YAML mapping of names to values.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "config.yaml"
    if not path.is_file():
        raise InputError(f"{option} {path}: no such file")
    return {str(k).replace("-", "_"): v for k, v in read_config(path).items()}


_FRAME = re.compile(r"[│╭╮╰╯─]")
_RULE = re.compile(r"^[\s│]*[─-]{10,}[\s│]*$")
_PREFIX = re.compile(
    r"^Error parsing (?:(?:data|recipe|training|distillation|common|run|kind): |--[\w-]+: (?=--))"
)
_BAD_VALUE = re.compile(r"^Error parsing (--[\w-]+): .*?(?:\[('.*?')\]|: ('[^']*')(?:;|$))")
_FORM = re.compile(r"Argument helptext: (?:-\w N, )?--[\w-]+((?: (?:N|NUMBER|\.\.\.)(?= ))*)")
_CHOICE = re.compile(r"^invalid choice '(.*?)' for argument '(.*?)'. Expected one of \((.*?)\)")
_NO_VALUE = re.compile(r"^Missing value for argument '(.*?)'. Expected (\d+) values")
_MISSING = re.compile(r"^Missing from (.*?): (.*)$")
_UNKNOWN = re.compile(r"^Unrecognized options: ([^,;]*)[^;]*(?:; Perhaps you meant: (--[\w-]+))?")


def one_line(box: str) -> str:
    """What a framed message of tyro says, without frame, headings and advice."""
    blocks: list[list[str]] = [[]]
    for line in box.strip().splitlines()[1:]:  # the first is a title
        if _RULE.match(line):
            blocks.append([])
        elif text := _FRAME.sub("", line).strip():
            blocks[-1].append(text)
    parts = [" ".join(block) for block in blocks if block]
    kept = [part for part in parts if not part.startswith("For full helptext")]
    return in_plain_words("; ".join(kept) or "these options cannot be read")


def in_plain_words(text: str) -> str:
    """A message of tyro in the words of this program."""
    for pattern, say in _WORDS:
        if match := pattern.match(text):
            return say(match)
    text = _PREFIX.sub("", text.partition("; Argument helptext")[0])
    return text[0].lower() + text[1:] if text.split()[0].istitle() else text


def _bad_value(match: re.Match[str]) -> str:
    value = " ".join(re.findall(r"'(.*?)'", match[2] or match[3]))
    form = _FORM.search(match.string)
    return f"{match[1]} {value}: must be {_kind(form[1] if form else '')}"


def _bad_choice(match: re.Match[str]) -> str:
    names = match[3].replace("'", "").strip(",").split(", ")
    choices = ", ".join(name for name in names if name != "None")
    return f"{match[2]} {match[1]}: choose one of {choices}"


def _no_value(match: re.Match[str]) -> str:
    if match[2] == "1":
        return f"{match[1]}: a value is missing"
    return f"{match[1]}: must be {match[2]} numbers"


def _missing(match: re.Match[str]) -> str:
    names = [part.split()[0] for part in match[2].split("(required)") if part.strip()]
    shown = [name if name.startswith("-") else "RUN, the run folder" for name in names]
    return f"missing from {match[1]}: {', '.join(shown)}"


def _unknown(match: re.Match[str]) -> str:
    what = "no option" if match[1].startswith("-") else "a word too many:"
    return f"{what} {match[1]}" + (f"; did you mean {match[2]}?" if match[2] else "")


def _kind(form: str) -> str:
    """A form such as `N`, `N ...` or `NUMBER NUMBER` in words."""
    noun = "whole number" if re.search(r"\bN\b", form) else "number"
    return f"{noun}s" if len(form.split()) > 1 else f"a {noun}"


_WORDS = (
    (_BAD_VALUE, _bad_value),
    (_CHOICE, _bad_choice),
    (_NO_VALUE, _no_value),
    (_MISSING, _missing),
    (_UNKNOWN, _unknown),
)
