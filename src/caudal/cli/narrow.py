"""Tables on screens that are too narrow for them: each row is a few lines."""

from collections.abc import Iterable, Iterator, Sequence

NARROW = 60
"""Characters across, from which on tables keep their form and wrap within their cells."""


def stacked(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """The lines of a table: the first cell of a row, and the others below it by their heads."""
    for row in rows:
        first, *others = (" ".join(cell.split()) for cell in row)
        yield first
        for title, cell in zip(head[1:], others, strict=False):
            if cell:
                yield f"  {' '.join(title.split())}: {cell}" if title else f"  {cell}"
