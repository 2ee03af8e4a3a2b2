"""A modality: what caudal does for one kind of data, and for that alone.

Training, evaluation, the report, the commands and the run object are written once. Where the kinds
of data differ they ask the modality, so a further kind is one more class here, and no `if` there.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from torch import Tensor

if TYPE_CHECKING:
    from caudal.data import Dataset, Items, Schema
    from caudal.flow import Flow
    from caudal.recipes import Recipe

Progress = Callable[[Iterable[Any], str, float | None], Iterable[Any]]
"""Shows how far a loop has come: (items, what is done to them, how many) to the same items."""
Warn = Callable[[str], None]
"""Tells the user one line."""


class Request(NamedTuple):
    """What one call of `Flow.sample` is asked for.

    Attributes:
        n: how many samples.
        context: of each of them, (n, *context), or None.
        length: of each, for data of any length.
        name: of the sample, where it has one.
    """

    n: int
    context: Tensor | None = None
    length: int | None = None
    name: str | None = None


class Modality(ABC):
    """One kind of data: a table, images, sound.

    Attributes:
        name: of the kind, which is also `kind` of its schemas.
        options: the dataclass of options that say which data to learn and how they are read; its
            fields are flags of `caudal train` and keywords of `caudal.train`.
        reading: the same for other data of a finished run (`eval`, `score`, `interpolate`).
        drawing: the same for `sample`.
    """

    name: ClassVar[str]
    options: ClassVar[type]
    reading: ClassVar[type]
    drawing: ClassVar[type]

    # --- data ---------------------------------------------------------------------------------

    @abstractmethod
    def recognises(self, data: Any) -> bool:
        """Whether `data`, a path, a name or a Python object, looks like this kind of data."""

    @abstractmethod
    def takes(self, recipe: "type[Recipe]") -> bool:
        """Whether a recipe can model this kind of data."""

    @abstractmethod
    def open(
        self,
        options: Any,
        recipe: "Recipe | None" = None,
        schema: "Schema | None" = None,
        progress: Progress | None = None,
    ) -> "Dataset":
        """The data that `options` names, in three parts.

        Args:
            options: of the type `self.options`.
            recipe: for which they are opened.
            schema: of a finished run, which the data must fit.
            progress: shows how far reading has come.

        Raises:
            InputError: the data cannot be used.
        """

    @abstractmethod
    def open_all(
        self,
        data: Any,
        schema: "Schema",
        reading: Any,
        options: Any,
        progress: Progress | None = None,
    ) -> "Items":
        """Everything in `data`, treated as the data of a finished run.

        Args:
            data: what to open.
            schema: of the run.
            reading: of the type `self.reading`.
            options: with which the run opened its own data, of the type `self.options`.
            progress: shows how far reading has come.

        Raises:
            InputError: the data do not fit the run.
        """

    # --- flows --------------------------------------------------------------------------------

    @abstractmethod
    def dress(self, recipe: "Recipe", schema: "Schema") -> "Flow":
        """A new flow of the recipe whose `log_prob` is in the user's own units.

        Dequantisation, fixed maps next to the data and the embedding of the context are put on.

        Raises:
            InputError: the recipe does not model such data.
        """

    @abstractmethod
    def loss(self) -> Callable[["Flow", Tensor, Tensor | None], Tensor]:
        """The loss of maximum likelihood, a mean over the rows of a batch."""

    def training(self, recipe: "type[Recipe]") -> Mapping[str, Any]:
        """Options of training whose usual values differ from those of `Training`."""
        return {}


MODALITIES: dict[str, str] = {
    "audio": "caudal.modalities.audio:Audio",
    "images": "caudal.modalities.images:Images",
    "table": "caudal.modalities.table:Table",
}
"""The modalities by name, in the order in which they are asked whether they recognise data."""


@cache
def modality(name: str) -> Modality:
    """The modality of that name; its module is imported when it is first asked for."""
    module, _, kind = MODALITIES[name].partition(":")
    found: Modality = getattr(import_module(module), kind)()
    return found


def modality_of(schema: "Schema") -> Modality:
    """The modality of a schema."""
    # Until every schema has its kind:
    names = {"Schema": "table", "ImageSchema": "images", "AudioSchema": "audio"}
    return modality(getattr(schema, "kind", None) or names[type(schema).__name__])


def assemble(recipe: "Recipe", schema: "Schema") -> "Flow":
    """The recipe's flow, dressed for the data of a schema: `log_prob` is in the user's units.

    Raises:
        InputError: the recipe does not model such data.
    """
    return modality_of(schema).dress(recipe, schema)
