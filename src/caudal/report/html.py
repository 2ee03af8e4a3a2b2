"""Small pieces of HTML."""

import base64
from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["card", "escape", "image", "page", "section", "table"]


def page(title: str, css: str, parts: Iterable[str]) -> str:
    """A whole document that needs nothing from outside."""
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{css}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def section(title: str, caption: str, *parts: str) -> str:
    """A headed part of the page; nothing if it has no parts."""
    if not any(parts):
        return ""
    said = f'<p class="caption">{escape(caption)}</p>' if caption else ""
    return "\n".join([f"<h2>{escape(title)}</h2>", said, *parts])


def image(png: bytes, alt: str) -> str:
    """A picture inside the page."""
    data = base64.b64encode(png).decode("ascii")
    return f'<img src="data:image/png;base64,{data}" alt="{escape(alt)}">'


def card(value: str, label: str, *, unit: str = "", main: bool = False) -> str:
    """One headline number and what it is."""
    small = f" <small>{escape(unit)}</small>" if unit else ""
    look = "card main" if main else "card"
    return f'<div class="{look}"><b>{escape(value)}{small}</b><span>{escape(label)}</span></div>'


def table(head: Sequence[str], rows: Iterable[Sequence[object]], numbers: str = "") -> str:
    """A table; `numbers` has an "n" for each column that is set to the right, else a space."""
    looks = [' class="n"' if look == "n" else "" for look in numbers.ljust(len(head))]
    top = _row("th", head, looks)
    body = "\n".join(_row("td", row, looks) for row in rows)
    return (
        f'<div class="scroll"><table>\n<thead>{top}</thead>\n<tbody>{body}</tbody></table></div>'
    )


def _row(tag: str, cells: Sequence[object], looks: Sequence[str]) -> str:
    inner = "".join(
        f"<{tag}{look}>{escape(str(cell))}</{tag}>"
        for cell, look in zip(cells, looks, strict=True)
    )
    return f"<tr>{inner}</tr>"
