"""What tyro says of words that it cannot read, in plain words and one line."""

import re

_FRAME = re.compile(r"[│╭╮╰╯─]")
_RULE = re.compile(r"^[\s│]*[─-]{10,}[\s│]*$")
_PREFIX = re.compile(
    r"^Error parsing (?:(?:data|images|audio|recipe|training|distillation): |--[\w-]+: (?=--))"
)
_BAD_VALUE = re.compile(r"^Error parsing (--[\w-]+): .*?(?:\[('.*?')\]|: ('[^']*')(?:;|$))")
_FORM = re.compile(r"Argument helptext: (?:-\w, )?--[\w-]+ ((?:None|[\[\]{}|.A-Z ])*)")
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
    """The same without the words of a program about itself."""
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
    choices = match[3].replace("'", "").strip(",")
    return f"{match[2]} {match[1]}: choose one of {choices}"


def _no_value(match: re.Match[str]) -> str:
    lacking = "a value is" if match[2] == "1" else f"{match[2]} values are"
    return f"{match[1]}: {lacking} missing"


def _missing(match: re.Match[str]) -> str:
    names = [part.split()[0] for part in match[2].split("(required)") if part.strip()]
    shown = [name if name.startswith("-") else "RUN, the run folder" for name in names]
    return f"missing from {match[1]}: {', '.join(shown)}"


def _unknown(match: re.Match[str]) -> str:
    what = "no option" if match[1].startswith("-") else "a word too many:"
    return f"{what} {match[1]}" + (f"; did you mean {match[2]}?" if match[2] else "")


def _kind(form: str) -> str:
    """A form such as `{None}|INT` or `FLOAT FLOAT` in words."""
    count = form.count("INT") + form.count("FLOAT")
    noun = "whole number" if "INT" in form else "number"
    return f"{noun}s" if count > 1 else f"a {noun}"


_WORDS = (
    (_BAD_VALUE, _bad_value),
    (_CHOICE, _bad_choice),
    (_NO_VALUE, _no_value),
    (_MISSING, _missing),
    (_UNKNOWN, _unknown),
)
