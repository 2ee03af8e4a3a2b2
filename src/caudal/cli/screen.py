"""What a command prints: words and tables for people, or one JSON object for programs."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from caudal.errors import as_flags
from caudal.modality import Voice, modality_of
from caudal.report import ScreenTable, parameters
from caudal.training.devices import leads
from caudal.training.progress import RichReporter

if TYPE_CHECKING:
    from rich.console import Console

Item = TypeVar("Item")
PLAIN_WIDTH = 120  # where there is no terminal to ask
WAYS = {
    "parallel": "one pass",
    "sequential": "one {element} at a time",
    "iterated": "iterated passes",
}


class Screen(Voice):
    """Standard output; with `as_json`, standard error, so that the JSON stands alone.

    Only the first of several processes of one run prints.
    """

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.quiet = not leads()
        self.console = new_console(sys.stderr if as_json else sys.stdout, self.quiet)

    def say(self, text: str = "", style: str = "") -> None:
        text = as_flags(text)
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        self.say(f"note: {text}", style="yellow")

    def table(
        self, head: Sequence[str], rows: Iterable[Sequence[object]], looks: str = ""
    ) -> None:
        """A table; `looks` has an "n" for each column that is set to the right, else a space."""
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False, show_header=any(head))
        for title, look in zip(head, looks.ljust(len(head)), strict=False):
            table.add_column(title, justify="right" if look == "n" else "left")
        for row in rows:
            table.add_row(*(_cell(value) for value in row))
        self.console.print(table)
        self.say()

    def show(self, part: "str | ScreenTable") -> None:
        """A line, or a table with its title."""
        if isinstance(part, str):
            self.say(part)
            return
        if part.title:
            self.say(f"\n{part.title}")
        self.table(part.head, part.rows, part.looks)

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

    def prepared(self, settings: Any, dataset: Any, flow: Any) -> None:
        """The data, the recipe, and what to beware of."""
        self.say(f"\n{dataset.name}")
        self._data(dataset)
        self._recipe(settings.recipe, dataset.schema, flow)
        for line in settings.kind.advice(settings.recipe, dataset):
            self.note(line)
        self.say()

    def distilling(
        self, teacher: Any, settings: Any, dataset: Any, flow: Any, terms: list[str]
    ) -> None:
        """Who learns what from whom."""
        self.say(f"\nteacher: {teacher.recipe.name} in {teacher.name}, trained on {dataset.name}")
        if line := teacher_line(teacher):
            self.say(line)
        self._data(dataset)
        self._recipe(settings.recipe, dataset.schema, flow)
        self.say(f"minimises {' + '.join(terms)}\n")

    def reporter(self, schema: Any, loss: str, elements: int | None) -> RichReporter:
        unit = schema.unit.name if schema.unit.bits else "bits/dim"
        return RichReporter(elements=elements, unit=unit, loss=loss)

    def _data(self, dataset: Any) -> None:
        for part in modality_of(dataset.schema).preview(dataset):
            self.show(part)
        for note in dataset.notes:
            self.note(note)

    def _recipe(self, recipe: Any, schema: Any, flow: Any) -> None:
        fields = ", ".join(f"{k}={v}" for k, v in vars(recipe).items())
        self.say(f"\n{recipe.name} ({fields}): {parameters(flow):,} parameters")
        self.say(f"density {way(recipe, recipe.scores)}, samples {way(recipe, recipe.samples)}")
        for line in modality_of(schema).flow_lines(recipe, schema):
            self.say(line)


def teacher_line(teacher: Any) -> str:
    """How good a teacher is, as its run was evaluated; empty where it was not."""
    try:
        text = (teacher.folder / "eval.json").read_text(encoding="utf-8")
        result = json.loads(text)
        unit = teacher.schema.unit
        score, gain = float(result[unit.key]), float(result["gain"])
    except (OSError, ValueError, LookupError, TypeError):  # not evaluated, or the file was edited
        return ""
    line = f"its test score is {score:.4g} {unit.name}, {abs(gain):.3g} "
    if gain > 0:
        return line + "better than the baseline"
    return line + "worse than the baseline: it has little to teach, train it longer first"


def way(recipe: Any, how: str) -> str:
    """How a direction of a recipe runs, in words."""
    return WAYS[how].format(element=recipe.element)


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
