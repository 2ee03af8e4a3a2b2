"""Pages of results that grow row by row: the rows stay in a JSON file, and a page tells them."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Generic, TypeVar

from environment import PEERS, describe, lines, table, write, write_json

Row = TypeVar("Row")
Facts = dict[str, str]
OLDER = (
    "Commits: those of rows from before there was a column of them are that of the page on which "
    "they first stood, whose last row it was of."
)


class Results(Generic[Row]):
    """The rows of a file, of which the last one of each key counts.

    Args:
        path: of the JSON file; the page stands beside it.
        kind: the dataclass of a row.
        key: tells rows apart.
        order: by which rows are sorted; None for that in which they came.
        libraries: whose versions the page tells.
    """

    def __init__(
        self,
        path: Path,
        kind: Callable[..., Row],
        key: Callable[[Row], Any],
        order: Callable[[Row], Any] | None = None,
        libraries: Sequence[str] = PEERS,
    ) -> None:
        self.path, self.kind, self.key, self.order = path, kind, key, order
        self.libraries = libraries

    def read(self) -> list[Row]:
        """The rows that are there."""
        if not self.path.exists():
            return []
        return [self.kind(**row) for row in json.loads(self.path.read_text("utf-8"))["rows"]]

    def add(self, new: Row, page: Callable[[list[Row], Facts], str]) -> None:
        """Puts a row in its place, and writes the page of all of them.

        Where rows keep their commit, that of the last one is none of the page's, nor is its date
        or its command.
        """
        print(new, flush=True)
        rows = [row for row in self.read() if self.key(row) != self.key(new)] + [new]
        if self.order is not None:
            rows.sort(key=self.order)
        facts = describe(self.libraries)
        values: list[Any] = rows
        write_json(self.path, {"made": facts, "rows": [asdict(row) for row in values]})
        write(self.path.with_suffix(".md"), page(rows, shared(facts) if _keeps(new) else facts))


def _keeps(row: Any) -> bool:
    return hasattr(row, "commit")


def shared(facts: Facts) -> Facts:
    """What holds for rows of several runs."""
    own = ("command", "commit", "date")
    return {name: fact for name, fact in facts.items() if name not in own}


def text(
    title: str,
    paragraphs: Sequence[str],
    facts: Facts,
    *tables: tuple[str, Sequence[str], Sequence[Sequence[str]]],
) -> str:
    """A page: what is shown, how it was made, and tables of (title, header, rows)."""
    parts = [f"# {title}", *paragraphs, "\n".join(lines(facts))]
    for name, header, rows in tables:
        parts += [f"## {name}"] * bool(name)
        parts.append("\n".join(table(list(header), [list(row) for row in rows])))
    return "\n\n".join(part for part in parts if part) + "\n"
