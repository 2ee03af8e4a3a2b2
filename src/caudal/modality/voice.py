"""What a long job tells its user, and what it shows, while it works."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from caudal.data import Dataset, Schema
    from caudal.flow import Flow

Item = TypeVar("Item")


class Voice:
    """What a long job tells its user while it works; this one is silent."""

    def note(self, text: str) -> None:
        """Tells one line that the user should not miss."""

    def say(self, text: str = "") -> None:
        """Tells one line."""

    def prepared(self, settings: Any, dataset: "Dataset", flow: "Flow") -> None:
        """Tells, before training, what was made of the data and of the options."""

    def distilling(
        self, teacher: Any, settings: Any, dataset: "Dataset", flow: "Flow", terms: list[str]
    ) -> None:
        """Tells, before a student is trained, who learns what from whom."""

    def reporter(self, schema: "Schema", loss: str, elements: int | None) -> Any:
        """The reporter of training; losses are called `loss` and cover that many `elements`."""
        return None

    def track(self, items: Iterable[Item], what: str, total: float | None) -> Iterable[Item]:
        """The same items, while showing how far a loop over them has come."""
        return items

    def reading(self, what: str) -> Callable[[Iterable[Item], float | None], Iterable[Item]]:
        """A function (items, total) that tracks items of one kind of data while they are read."""
        return lambda items, total: self.track(items, f"reading {what}", total)


class Watch(Protocol):
    """What looks at a flow while it trains; a `caudal.report.film.Film`."""

    @property
    def words(self) -> str:
        """What it leaves in the run folder."""

    def __call__(self, step: int) -> object:
        """Looks at the flow as it is after a step."""
