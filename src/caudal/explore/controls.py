"""What stands in a tab of the page: controls, and what happens when they are used."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from caudal.report.page import Block


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


@dataclass(frozen=True)
class Slider(Control):
    """A number between two ends."""

    low: float
    high: float
    value: float
    step: float


@dataclass(frozen=True)
class Whole(Control):
    """A whole number, from `low` on."""

    value: int
    low: int = 0
    high: int | None = None


@dataclass(frozen=True)
class Choice(Control):
    """One of some texts."""

    choices: Sequence[str]
    value: str


@dataclass(frozen=True)
class Lines(Control):
    """Some lines of text, empty at first."""

    placeholder: str


@dataclass(frozen=True)
class Cells(Control):
    """A row of cells, each a text under its heading."""

    head: Sequence[str]
    value: Sequence[str]


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

    def defaults(self) -> dict[str, Any]:
        """The values of all controls before anyone has touched them."""
        return {control.name: getattr(control, "value", None) for control in self.controls}
