"""What only one kind of data has on the page of `caudal explore`: how items are looked at."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from caudal.data import Column
from caudal.flow import Flow
from caudal.report.page import Block, Drawn
from caudal.report.style import DATA, SAMPLES

COLOURS = {"data": DATA, "samples": SAMPLES}


class Side(NamedTuple):
    """Items that are shown together, in the user's own form, as `Model.sample` gives them.

    Attributes:
        title: above them.
        items: rows, images or clips.
        look: "data" or "samples", which says the colour.
    """

    title: str
    items: Any
    look: str = "samples"

    @property
    def colour(self) -> str:
        """The colour of the title."""
        return COLOURS[self.look]


class Guide(ABC):
    """Shows items of one kind of data, and what lies behind and between them.

    Attributes:
        usual: how many samples a page shows unless told otherwise.
        most: how many it shows at most.
        items: from how many test items one may be chosen, at most.
        compared: how many of them stand beside samples, at most.
        file: the name of a file of samples.
        one_a_file: whether such a file holds a single sample.
        suffixes: of files that can be scored.
        typed: whether an item can be typed, cell by cell.
        recorded: whether an item can be recorded.
    """

    usual: ClassVar[int]
    most: ClassVar[int]
    items: ClassVar[int] = 1000
    compared: ClassVar[int] = 1000
    file: ClassVar[str]
    one_a_file: ClassVar[bool] = False
    suffixes: ClassVar[tuple[str, ...]]
    typed: ClassVar[bool] = False
    recorded: ClassVar[bool] = False

    @abstractmethod
    def show(self, schema: Any, sides: Sequence[Side], ground: Any = None) -> list[Block]:
        """The items of each side, side by side, to look at or to listen to.

        `ground` are items of the test part, which may stand behind them.
        """

    def path(self, schema: Any) -> int:
        """How many items are shown along a path."""
        return 9

    def journey(
        self, schema: Any, four: Side, point: Side, path: Side, ground: Any
    ) -> list[Block]:
        """Four items, one between them, and the path on which it lies."""
        return [*self.show(schema, [four, point], ground), *self.show(schema, [path], ground)]

    @abstractmethod
    def noise(self, schema: Any, z: Tensor) -> Any:
        """Noise z (N, *event) in a form that `show` takes as items."""

    @abstractmethod
    def joined(self, parts: Sequence[Any]) -> Any:
        """Items in the user's own form, one after the other."""

    @abstractmethod
    def compare(self, flow: Flow, schema: Any, one: Side, other: Side) -> Iterator[Drawn]:
        """The distributions of two sides in the same frames."""

    def is_noisy(self, schema: Any) -> bool:
        """Whether the flow has learned items with noise, which can be taken off what it makes."""
        return False

    def decode(
        self, flow: Flow, schema: Any, z: Tensor, context: Tensor | None, clean: bool = False
    ) -> Tensor:
        """What the flow makes of noise z (N, *event); `clean`, without the noise of training."""
        return flow.decode(z, context)

    def drawing(self, schema: Any) -> dict[str, Any]:
        """Keywords of `Model.sample` with which samples are drawn, beside those of the page."""
        return {}

    def remark(self, schema: Any) -> str:
        """What there is to say of samples that are drawn so."""
        return ""

    def givable(self, schema: Any) -> tuple[Column, ...]:
        """The columns of which samples may be given a value, beside those of the context."""
        return ()

    def copies(self, schema: Any) -> bool:
        """Whether a flow is given all that a copy of an item takes, as a spectrum of sound."""
        return False

    def blends(self, schema: Any) -> bool:
        """Whether something lies between items, as their noise has one shape."""
        return True

    def layers(self, flow: Flow, schema: Any) -> int:
        """After how many parts of the flow its events can be looked at; 0 for not at all."""
        return 0

    def stops(self, schema: Any) -> bool:
        """Whether `walk` shows events after any part, and not `film` alone."""
        return False

    def walk(self, flow: Flow, schema: Any, seed: int) -> Callable[[float], list[Block]]:
        """Shows what the flow has made of noise after `at` parts, from 0, the noise, to all."""
        raise NotImplementedError

    def film(self, flow: Flow, schema: Any, seed: int) -> list[Block]:
        """How the flow makes data of noise, from part to part."""
        raise NotImplementedError
