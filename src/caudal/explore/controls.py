"""What stands in a tab of the page: controls, and what happens when they are used."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caudal.errors import InputError
from caudal.report.page import Block

LARGEST = 2**31 - 1
"""The largest whole number, where a control has no other end."""


@dataclass(frozen=True)
class Control:
    """Something that a user sets; its value goes to the function of its tab by its name.

    Attributes:
        name: of the argument.
        label: above it.
        help: under the label, how to use it; may be empty.
    """

    name: str
    label: str
    help: str = field(default="", kw_only=True)

    def check(self, value: Any) -> None:
        """Refuses what the component on the page cannot give; a page is asked by programs, too.

        Raises:
            InputError: says what the control takes.
        """
        if value is not None and not isinstance(value, str):
            raise InputError(f"{self.label}: must be a text")


@dataclass(frozen=True)
class Slider(Control):
    """A number between two ends."""

    low: float
    high: float
    value: float
    step: float

    def check(self, value: Any) -> None:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not self.low <= value <= self.high:
            raise InputError(f"{self.label}: must be from {self.low:g} to {self.high:g}")


@dataclass(frozen=True)
class Whole(Control):
    """A whole number, from `low` on."""

    value: int
    low: int = 0
    high: int | None = None

    def check(self, value: Any) -> None:
        is_whole = isinstance(value, int | float) and value == value // 1
        high = LARGEST if self.high is None else self.high
        if not is_whole or isinstance(value, bool) or not self.low <= value <= high:
            raise InputError(f"{self.label}: must be a whole number from {self.low} to {high:,}")


@dataclass(frozen=True)
class Choice(Control):
    """One of some texts."""

    choices: Sequence[str]
    value: str

    def check(self, value: Any) -> None:
        if not isinstance(value, str) or value not in self.choices:
            raise InputError(f"{self.label}: must be one of those that can be chosen")


@dataclass(frozen=True)
class Lines(Control):
    """Some lines of text, empty at first."""

    placeholder: str


@dataclass(frozen=True)
class Cells(Control):
    """A row of cells, each a text under its heading."""

    head: Sequence[str]
    value: Sequence[str]

    def check(self, value: Any) -> None:
        plain = str | int | float | None
        is_row = isinstance(value, list) and all(isinstance(cell, plain) for cell in value)
        if value is not None and not is_row:
            raise InputError(f"{self.label}: must be a row of cells")


@dataclass(frozen=True)
class Upload(Control):
    """The path of a file of the user's, None without one."""

    suffixes: Sequence[str]


@dataclass(frozen=True)
class Recording(Control):
    """The path of a sound that is recorded or uploaded on the page, None without one."""


@dataclass(frozen=True)
class Tab:
    """A tab of the page.

    Attributes:
        title: on the tab.
        intro: what is seen there and how to read it, in two or three sentences.
        controls: what can be set.
        act: from the values of the controls, by their names, to what is shown.
        button: what starts `act`; where it is empty, each change of a control does.
        eager: whether `act` also runs when the tab is opened.
        write: like `act`, but writes what is shown into a file of a folder, and gives its path;
            None where there is nothing to download.
    """

    title: str
    intro: str
    controls: Sequence[Control]
    act: Callable[..., list[Block]]
    button: str = ""
    eager: bool = True
    write: Callable[..., Path] | None = None

    def check(self, values: Mapping[str, Any]) -> None:
        """Refuses values that the controls cannot have.

        Raises:
            InputError: names the control.
        """
        for control in self.controls:
            control.check(values[control.name])

    def defaults(self) -> dict[str, Any]:
        """The values of all controls before anyone has touched them."""
        return {control.name: getattr(control, "value", None) for control in self.controls}
