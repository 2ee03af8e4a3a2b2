"""What a command prints: words and tables for people, or one JSON object for programs."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from caudal.report.numbers import number
from caudal.training.devices import leads

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["Screen", "new_console", "number"]

Item = TypeVar("Item")
PLAIN_WIDTH = 120  # where there is no terminal to ask


class Screen:
    """Standard output; with `as_json`, standard error, so that the JSON stands alone.

    Of several processes of one run, the first one alone prints.
    """

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.quiet = not leads()
        self.console = new_console(sys.stderr if as_json else sys.stdout, self.quiet)

    def say(self, text: str = "", style: str = "") -> None:
        """A line or a paragraph."""
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """A line that should not be missed."""
        self.say(f"note: {text}", style="yellow")

    def table(
        self, head: Sequence[str], rows: Iterable[Sequence[object]], numbers: str = ""
    ) -> None:
        """A table; `numbers` has an "n" for each column that is set to the right, else a space."""
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False, show_header=any(head))
        for title, look in zip(head, numbers.ljust(len(head)), strict=False):
            table.add_column(title, justify="right" if look == "n" else "left")
        for row in rows:
            table.add_row(*(_cell(value) for value in row))
        self.console.print(table)
        self.say()

    def result(self, result: dict[str, Any]) -> None:
        """The JSON object, where that is asked for."""
        if self.as_json and not self.quiet:
            print(json.dumps(result, ensure_ascii=False, allow_nan=False))

    def track(self, items: Iterable[Item], what: str, total: float | None) -> Iterable[Item]:
        """The items, with a progress bar on standard error if that is a terminal."""
        console = new_console(sys.stderr, self.quiet)
        if not console.is_terminal:
            return items
        from rich.progress import track

        return track(items, what, total=total, console=console, transient=True)


def new_console(file: Any, quiet: bool = False) -> "Console":
    """A console that lets a closed pipe be an error like others."""
    from rich.console import Console

    class PlainConsole(Console):
        """Rich ends the program by itself otherwise."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    terminal = file.isatty()
    return PlainConsole(file=file, quiet=quiet, width=None if terminal else PLAIN_WIDTH)


def _cell(value: object) -> Any:
    from rich.text import Text

    return Text("" if value is None else str(value))
