"""What a command prints: words and tables for people, or one JSON object for programs."""

import json
import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from caudal.cli.narrow import NARROW, stacked
from caudal.cli.recipes import way
from caudal.errors import as_flags, printable
from caudal.modality import Voice, modality_of
from caudal.model import Model
from caudal.model.students import can_teach
from caudal.report import Evaluation, ScreenTable, duration, parameters
from caudal.training.devices import Interrupted
from caudal.training.processes import leads
from caudal.training.progress import RichReporter
from caudal.training.run import Run

if TYPE_CHECKING:
    from rich.console import Console

Item = TypeVar("Item")
_WHY = {
    "steps": "all steps done",
    "patience": "no gain for a while",
    "minutes": "the time was over before the last steps",
}
PLAIN_WIDTH = 120  # where there is no terminal to ask


class Screen(Voice):
    """Standard output; standard error where JSON (`as_json`) or sound (`aside`) has that alone.

    Only the first of several processes of one run prints.
    """

    def __init__(self, as_json: bool = False, aside: bool = False) -> None:
        self.as_json = as_json
        self.quiet = not leads()
        to = sys.stderr if as_json or aside else sys.stdout
        self.console = new_console(to, self.quiet)

    def say(self, text: str = "", style: str = "") -> None:
        text = printable(as_flags(text))
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)

    def note(self, text: str) -> None:
        self.say(f"note: {_unbroken(text)}", style="yellow")

    def table(
        self, head: Sequence[str], rows: Iterable[Sequence[object]], looks: str = ""
    ) -> None:
        """A table; `looks` has an "n" for each column that is set to the right, else a space."""
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE, pad_edge=False, show_edge=False, show_header=any(head))
        for title, look in zip(head, looks.ljust(len(head)), strict=False):
            table.add_column(title, justify="right" if look == "n" else "left")
        cells = [["" if value is None else str(value) for value in row] for row in rows]
        for row in cells:
            table.add_row(*map(_cell, row))
        wide = self.console.options.update(width=1000)
        needed = self.console.measure(table, options=wide).maximum
        if needed > self.console.width < NARROW:
            for line in stacked(head, cells):
                self.say(line)
        else:
            self.console.print(table)
        self.say()

    def show(self, part: "str | ScreenTable") -> None:
        """A line, or a table with its title."""
        if isinstance(part, str):
            self.say(part)
            return
        if part.title:
            self.say(f"\n{part.title}")
        rows = ([as_flags(cell) for cell in row] for row in part.rows)
        self.table(part.head, rows, part.looks)

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
        self._recipe(settings.recipe, dataset.schema, flow, settings.why)
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

    def evaluation(self, result: Evaluation) -> None:
        """The numbers side by side, and what they are."""
        self.show(ScreenTable(result.title, *result.table()))
        if result.copies is not None:
            self.show(result.copies.table())
        for line in result.sentences():
            self.say(line)
        if result.target is not None:
            self.show(result.target.table())
            for line in result.target.sentences():
                self.say(line)
        if result.scoreboard is not None:
            self.show(result.scoreboard.table())
            for line in result.scoreboard.verdict():
                self.say(line, style="bold")
            self.say(result.scoreboard.legend)

    def trained(self, model: Model) -> None:
        """How training went, how good the model is, where things are, and what to type next."""
        fitted, folder = model.fitted, model.folder
        assert fitted is not None
        assert folder is not None
        seconds = fitted.history[-1]["seconds"] if fitted.history else None
        took = f" in {duration(seconds)}" if seconds is not None else ""
        why = _WHY[fitted.stopped]
        self.say(f"best after step {fitted.best_step}, trained{took} ({why})")
        result: dict[str, Any] = {}
        if model.evaluation is not None:
            self.evaluation(model.evaluation)
            result |= model.evaluation.to_dict()
        if model.distilled is not None:
            for part in model.distilled.tables():
                self.show(part)
            for line in model.distilled.verdict:
                self.say(line, style="bold")
            self.say(f"\ncompared in {folder / 'compare.json'}")
            result["fidelity"] = model.distilled.to_dict()
        if model.page is not None:
            self.say(f"\nreport  {model.page}")
        self.say(f"model   {Run(folder).model_path}\n\nnext:")
        for line in _next_commands(model, folder):
            self.say(f"  {line}")
        how = {"best_step": fitted.best_step, "parameters": parameters(model.flow)}
        page = str(model.page) if model.page else None
        self.result({**result, "run": str(folder), "report": page, **how, "seconds": seconds})

    def _data(self, dataset: Any) -> None:
        for part in modality_of(dataset.schema).preview(dataset):
            self.show(part)
        for note in dataset.notes:
            self.note(note)

    def _recipe(self, recipe: Any, schema: Any, flow: Any, why: Sequence[str] = ()) -> None:
        fields = ", ".join(f"{k}={v}" for k, v in vars(recipe).items())
        self.say()
        for line in why:
            self.say(line)
        self.say(f"{recipe.name} ({fields}): {parameters(flow):,} parameters")
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


def new_console(file: Any, quiet: bool = False) -> "Console":
    """A console that lets a closed pipe be an error like others."""
    from rich.console import Console

    class PlainConsole(Console):
        """Rich ends the program by itself otherwise."""

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError

    terminal = file.isatty()
    return PlainConsole(file=file, quiet=quiet, width=None if terminal else PLAIN_WIDTH)


def _next_commands(model: Model, folder: Path) -> list[str]:
    """What a user may want to type after training, a student of a slow sampler included."""
    name = shlex.quote(str(folder))
    lines = model.kind.next_commands(name, model.schema)
    if model.distilled is None and can_teach(model):
        lines.append(f"caudal distill {name} --out {shlex.quote(f'{folder}-student')}")
    return lines


def _cell(value: str) -> Any:
    from rich.text import Text

    return Text(printable(_unbroken(value)))


def _unbroken(text: str) -> str:
    """The text in one line: names of columns may have line breaks in them."""
    return re.sub(r"\s*[\r\n]+\s*", " ", text)


def with_advice(error: KeyboardInterrupt, out: Path, command: str) -> KeyboardInterrupt:
    """The same interruption, saying what to type to go on, if anything was saved."""
    if isinstance(error, Interrupted):
        return Interrupted(f"{error}: {command}", error.exit_code)
    if Run(out).found_state is None:
        return error
    error.args = (f"interrupted; what was trained is in {out}: {command}",)
    return error
