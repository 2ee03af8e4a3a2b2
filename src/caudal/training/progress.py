"""Progress of training: not shown, as a bar, or as a line per validation."""

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from caudal.errors import as_flags, printable
from caudal.losses import bits_per_dim
from caudal.modality import Voice

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn


_TELL_EVERY = 15.0  # seconds between lines where no bar moves


def duration(seconds: float) -> str:
    """A time in words: `48 s`, `3 min 20 s`, `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


@dataclass(frozen=True)
class Plan:
    """The work ahead: `steps` in all, each of `batch_size` rows, beginning with step `first`.

    It will take `seconds`, if that was measured.
    """

    steps: int
    first: int
    batch_size: int
    steps_per_epoch: int
    validate_every: int = 0
    seconds: float | None = None

    def __str__(self) -> str:
        passes = self.steps / self.steps_per_epoch
        whole = f"{passes:.3g} pass{'' if f'{passes:.3g}' == '1' else 'es'}"
        when = f"after every {self.validate_every:,}"
        when = "at the end" if self.validate_every >= self.steps else when
        parts = [
            f"{self.steps:,} steps of {self.batch_size:,} rows, {whole} over the data",
            f"{self.first:,} of them done" if self.first else "",
            f"a validation {when}",
            "" if self.seconds is None else f"about {duration(self.seconds)}",
        ]
        return "; ".join(filter(None, parts))


class Reporter(Protocol):
    """Receives the progress of training, in the order of the methods; `finish` is always last."""

    def start(self, plan: Plan) -> None:
        """Called before the first step, and again when the steps left are planned anew."""

    def step(self, step: int, train: float) -> None:
        """Called a few times a second, with the steps done and the loss of the last, in nats."""

    def validated(self, record: dict[str, Any]) -> None:
        """Called after a validation, with its record of `metrics.jsonl`."""

    def note(self, text: str) -> None:
        """Called with a line that the user should see, perhaps before `start`."""

    def finish(self, stopped: str) -> None:
        """Called at the end in any case, with `Fitted.stopped`, "failed" or "interrupted"."""


class Silent:
    """Shows nothing."""

    def start(self, plan: Plan) -> None: ...

    def step(self, step: int, train: float) -> None: ...

    def validated(self, record: dict[str, Any]) -> None: ...

    def note(self, text: str) -> None: ...

    def finish(self, stopped: str) -> None: ...


class Notes(Silent):
    """Shows nothing but notes, which `voice` tells."""

    def __init__(self, voice: Voice) -> None:
        self.voice = voice

    def note(self, text: str) -> None:
        self.voice.note(text)


class RichReporter:
    """A progress bar on a terminal; elsewhere a plain line per validation.

    Args:
        console: where to print; standard error if not given.
        elements: numbers per event, to show bits per dimension too; None where they make no
            sense.
        unit: name of the unit of those bits.
        loss: unit of the loss; empty if it is a sum of terms in different units.
    """

    def __init__(
        self,
        console: "Console | None" = None,
        elements: int | None = None,
        unit: str = "bits/dim",
        loss: str = "nats",
    ) -> None:
        from rich.console import Console

        self.console = console or Console(stderr=True)
        self.elements, self.unit, self.loss = elements, unit, f" {loss}" if loss else ""
        self._bar: Progress | None = None

    def start(self, plan: Plan) -> None:
        self._plan = plan
        self._began = self._told = time.monotonic()
        self._print(str(plan))
        if self._bar:
            self._bar.update(self._bar.task_ids[0], total=plan.steps)
        if self._bar or not self.console.is_terminal:
            return
        self._bar = _bar(self.console)
        self._bar.add_task(
            "training",
            total=plan.steps,
            completed=plan.first,
            train="",
            valid="",
            batch_size=plan.batch_size,
        )
        self._bar.start()

    def step(self, step: int, train: float) -> None:
        if self._bar:
            self._bar.update(
                self._bar.task_ids[0], completed=step, train=f"{train:.3f}{self.loss}"
            )
        elif time.monotonic() - self._told >= _TELL_EVERY:
            self._told = time.monotonic()
            self._print(
                f"step {step}/{self._plan.steps}: train {self.nats(train)}{self.left(step)}"
            )

    def left(self, step: int) -> str:
        """How long the steps after `step` will take, if they go as those so far did."""
        done = step - self._plan.first
        seconds = (time.monotonic() - self._began) * (self._plan.steps - step) / max(done, 1)
        return f", {duration(seconds)} left" if step < self._plan.steps else ""

    def validated(self, record: dict[str, Any]) -> None:
        step, valid = record["step"], self.nats(record["valid"])
        if self._bar:
            self._bar.update(
                self._bar.task_ids[0], completed=record["step"], valid=f"valid {valid}"
            )
            return
        self._told = time.monotonic()
        tails = f", {record['tails']:.1%} in spline tails" if "tails" in record else ""
        self._print(
            f"step {step}/{self._plan.steps} (epoch {record['epoch']:.4g}): "
            f"train {self.nats(record['train'])}, valid {valid}{' *' if record['best'] else ''}"
            f"{tails}, {record['rows_per_second']:.0f} rows/s{self.left(step)}"
        )

    def note(self, text: str) -> None:
        self._print(f"note: {as_flags(text)}")

    def finish(self, stopped: str) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None

    def nats(self, loss: float) -> str:
        """A loss with its unit, such as `3.142 nats (0.071 bits/dim)`."""
        if self.elements is None:
            return f"{loss:.4f}{self.loss}"
        return f"{loss:.4f}{self.loss} ({bits_per_dim(-loss, self.elements):.4f} {self.unit})"

    def _print(self, text: str) -> None:
        # Without markup and wrapping, so that programs can read the line.
        self.console.print(printable(text), markup=False, highlight=False, soft_wrap=True)


def _bar(console: "Console") -> "Progress":
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[train]}"),
        TextColumn("[bold]{task.fields[valid]}"),
        _rate_column(),
        TimeRemainingColumn(),
        console=console,
    )


def _rate_column() -> "ProgressColumn":
    from rich.progress import ProgressColumn, Task
    from rich.text import Text

    class RowsPerSecond(ProgressColumn):
        """Rows per second."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed or 0.0
            return Text(f"{speed * task.fields['batch_size']:,.0f} rows/s")

    return RowsPerSecond()
