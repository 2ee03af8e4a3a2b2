"""What caudal asks of one kind of data; each method is answered once for each kind."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from caudal.errors import InputError
from caudal.modality.requests import Examples, Nothing, Request, Requests
from caudal.modality.voice import Voice, Watch

if TYPE_CHECKING:
    from caudal.flow import Flow


class Modality(ABC):
    """One kind of data: tables, images, sound, plain tensors; or a density, by its chains.

    In the methods below `model` stands for a `caudal.Model`, `schema` for a schema of this kind,
    `dataset` for a `Dataset` of such schema, and `recipe` for a `Recipe`.

    Attributes:
        name: of the kind, which is also the `kind` of its schemas.
        what: such data in words, such as "images".
        streams: whether samples come piece by piece.
        names: the built-in data of this kind.
        formats: the files that hold such data, in words.
        trainable: the recipes that can be trained on them, in words.
        usual_recipe: the name of the recipe for such data unless told otherwise.
        also_usual: names of others that `recipe_for` chooses from, or options of which choose.
        options: the dataclass of options that say which data to learn and how they are read; its
            fields are flags of `caudal train` and keywords of `caudal.train`.
        reading: the same for other data of a finished run (`eval`, `score`, `interpolate`).
        drawing: the same for `sample`.
        filling: the same for `impute`.
        distillation: the same for what a student learns from; its `objective` is the loss, and its
            `training` how a student trains unless told otherwise.
        baseline: the baseline beside every evaluation.
        beginning: a second baseline, with which flows of such data begin; None without.
        target: what judges the predictions of one column given others; None without.
        scoreboard: measures samples beside test items, given (flow, dataset, beginning, rows,
            seed); None without.
        scoreboard_seconds: about how long that takes at most.
        passes: how often an evaluation scores each item.
        redrawn: how many items more it scores, to tell how far noise moves a score.
        least_evaluated: how many items an evaluation takes at least, if there are as many.
        report_seconds: about how long a report takes.
        classified: for how many items at most the likelihoods given each label are compared; 0 for
            none.
        draws: of the noise between steps, for the score of one item.
        explainer: tells how surprising the values of an item are, given (flow, schema, batch,
            seed); None where items have no columns.
        judged: how many densities of validation items tell how low is unusual; 0 without.
        teller: what only this kind of data has in a report.
        guide: what only this kind of data has on the page of `caudal explore`.
    """

    name: ClassVar[str]
    what: ClassVar[str]
    streams: ClassVar[bool] = False
    names: ClassVar[tuple[str, ...]]
    formats: ClassVar[str]
    trainable: ClassVar[str]
    usual_recipe: ClassVar[str]
    also_usual: ClassVar[tuple[str, ...]] = ()
    options: ClassVar[type]
    reading: ClassVar[type]
    drawing: ClassVar[type]
    filling: ClassVar[type] = Nothing
    distillation: ClassVar[Any]
    baseline: ClassVar[Any]
    beginning: ClassVar[Any] = None
    target: ClassVar[Any] = None
    scoreboard: ClassVar[Any] = None
    scoreboard_seconds: ClassVar[float] = 0.0
    passes: ClassVar[float] = 1.0
    redrawn: ClassVar[int] = 4 * 256
    least_evaluated: ClassVar[int] = 256
    report_seconds: ClassVar[float] = 10.0
    classified: ClassVar[int] = 0
    draws: ClassVar[int]
    explainer: ClassVar[Any] = None
    judged: ClassVar[int] = 0
    teller: ClassVar[Any]
    guide: ClassVar[Any]

    # --- data ---------------------------------------------------------------------------------

    @abstractmethod
    def recognises(self, data: Any) -> bool:
        """Whether `data`, a path, a name or a Python object, looks like this kind of data."""

    @abstractmethod
    def takes(self, recipe: Any) -> bool:
        """Whether a recipe can model this kind of data."""

    @abstractmethod
    def open(
        self,
        options: Any,
        recipe: Any,
        schema: Any,
        voice: Voice,
    ) -> Any:
        """The data that `options` names, in three parts.

        Args:
            options: of the type `self.options`.
            recipe: the one that will model them.
            schema: of a finished run, which the data must fit; None for a new one.
            voice: shows how far reading has come.

        Raises:
            InputError: the data cannot be used.
        """

    @abstractmethod
    def open_all(
        self,
        data: Any,
        schema: Any,
        reading: Any,
        options: Mapping[str, Any],
        voice: Voice,
    ) -> Any:
        """Everything in `data`, treated as the data of a finished run.

        Args:
            data: what to open.
            schema: of the run.
            reading: of the type `self.reading`.
            options: the config of the run.
            voice: shows how far reading has come.

        Raises:
            InputError: the data do not fit the run.
        """

    def open_given(
        self, data: Any, schema: Any, reading: Any, options: Mapping[str, Any], voice: Voice
    ) -> Any:
        """Everything in `data`, of which only the context is needed; arguments as of `open_all`.

        Raises:
            InputError: the data do not fit the run, or are of a kind without a target.
        """
        raise InputError(f"predict is for tables with a target, and the run models {schema.what}")

    def open_gaps(self, data: Any, schema: Any, filling: Any, options: Mapping[str, Any]) -> Any:
        """Everything in `data`, whose missing values are to be filled.

        Args:
            data: what to open.
            schema: of the run.
            filling: of the type `self.filling`.
            options: the config of the run.

        Raises:
            InputError: the data do not fit the run, or are of a kind that has no gaps.
        """
        raise InputError(f"impute fills gaps of tables, and the run models {schema.what}")

    def settled(self, options: Any, dataset: Any) -> Any:
        """The options with what opening the data has decided, for config.yaml."""
        return options

    def papers(self, options: Any, dataset: Any) -> Mapping[str, str]:
        """Texts for the run folder that say what the data were taken for, by their file's name."""
        return {}

    # --- flows --------------------------------------------------------------------------------

    @abstractmethod
    def dress(self, recipe: Any, schema: Any) -> "Flow":
        """A new flow of the recipe whose `log_prob` is in the user's own units.

        It has the dequantisation, the fixed maps next to the data, and the embedding of the
        context.

        Raises:
            InputError: the recipe does not model such data.
        """

    @property
    @abstractmethod
    def loss(self) -> Callable[["Flow", Tensor, Tensor | None], Tensor]:
        """The loss of maximum likelihood, a mean over the rows of a batch."""

    def objective(self, flow: "Flow", dataset: Any, options: Any) -> tuple[Any, Any]:
        """The loss that training minimises, and the one that selects the best weights, or None.

        Args:
            flow: the one that is trained.
            dataset: the one that it is trained on.
            options: of the type `self.options`.
        """
        return self.loss, None

    def training(self, recipe: Any) -> Mapping[str, Any]:
        """Options of training whose usual values differ from those of `Training`."""
        return {}

    def teaching(self, student: Any) -> Mapping[str, Any]:
        """Options of training a student of that recipe, where they differ from the usual ones."""
        return {}

    @abstractmethod
    def size(self, dataset: Any, minutes: float | None) -> str | None:
        """The size of a flow (`caudal.recipes.sizes`) for such data and so much time.

        None keeps the recipe's own fields, where the length is counted in steps.
        """

    def sized(self, recipe: str, size: str, dataset: Any) -> Mapping[str, Any]:
        """Fields of a recipe in a size, and options of training, for such data.

        Raises:
            InputError: the recipe has no such size.
        """
        from caudal.recipes.sizes import size_of

        return size_of(recipe, size, self.name)

    def pieces(self, dataset: Any, batch_size: int) -> int:
        """In how many pieces a batch goes through the flow, so that memory has a bound."""
        return 1

    @property
    def draws_in_training(self) -> bool:
        """Whether the flow draws samples in each step of its training."""
        return False

    def recipe_for(self, dataset: Any) -> str:
        """The name of the usual recipe, now that the data are known."""
        return self.usual_recipe

    def watch(
        self, recipe: Any, flow: "Flow", dataset: Any, seed: int, folder: Path
    ) -> Watch | None:
        """What looks at the flow after some validations, to leave pictures in the run folder."""
        return None

    # --- samples ------------------------------------------------------------------------------

    @abstractmethod
    def requests(
        self, model: Any, n: int | None, drawing: Any, seed: int, voice: Voice
    ) -> Requests:
        """What to ask the flow for, so that `n` samples come out; a usual number if None."""

    def draw(self, model: Any, drawing: Any, temperature: float) -> Any:
        """A function (request, generator) -> samples x; perhaps with a `summary`."""
        return model.draw(temperature)

    def stream(
        self, model: Any, request: Request, drawing: Any, generator: Any, temperature: float
    ) -> Iterator[Any]:
        """What one request is answered with, in pieces, as they are made.

        Raises:
            InputError: such data are not there piece by piece.
        """
        raise InputError(f"{model.name} models {model.schema.what}: only sound is streamed")

    @abstractmethod
    def decode(self, schema: Any, x: Tensor, request: Request) -> tuple[Any, ...]:
        """Samples in the user's own form, as the arguments of the writer's `write`."""

    @abstractmethod
    def cells(self, schema: Any, grid: Tensor) -> Any:
        """A grid of samples (n, n, *event) in the user's own form."""

    @abstractmethod
    def writer(self, path: str, schema: Any, drawing: Any, temperature: float) -> Any:
        """What writes samples into a file or a folder, in the form that its name asks for."""

    @abstractmethod
    def collect(self, schema: Any, parts: list[tuple[Any, ...]], container: str) -> Any:
        """What `decode` gave, all of it, as one Python object."""

    # --- what people see ----------------------------------------------------------------------

    @abstractmethod
    def preview(self, dataset: Any) -> Iterator[Any]:
        """Lines and tables that say what the data are, before training."""

    def advice(self, recipe: Any, dataset: Any) -> list[str]:
        """What to beware of with this recipe and these data, a line each."""
        return []

    def flow_lines(self, recipe: Any, schema: Any) -> list[str]:
        """What to know of the flow before training, a line each."""
        return []

    @abstractmethod
    def next_commands(self, folder: str, schema: Any) -> list[str]:
        """What a user may want to type after training."""

    def copying(self, flow: "Flow", source: Any, schema: Any) -> tuple[float, int]:
        """Seconds that a copy of an item takes, and how many `copy` makes; the flow stays as is.

        None are made where there is no `copy`.
        """
        return 0.0, 0

    def copy(self, flow: "Flow", source: Any, schema: Any, limit: int | None, voice: Voice) -> Any:
        """Copies of items by a flow that is given their contexts, a `caudal.report.Copying`.

        None where a context does not say what its item is, as of all data but spectra of sound.
        """
        return None

    # --- students and what lies between -------------------------------------------------------

    @abstractmethod
    def compare(
        self, student: "Flow", model: Any, name: str, terms: list[str], voice: Voice
    ) -> Any:
        """A student beside its teacher, a `caudal.report.Distilled`."""

    def labels(self, model: Any) -> list[Any] | None:
        """The class of each test item, if there are classes and it is known."""
        return None

    @abstractmethod
    def examples(self, model: Any, data: Any, reading: Any, voice: Voice) -> Examples:
        """Items to stand at the corners of a manifold.

        Raises:
            InputError: nothing lies between such data that could be shown.
        """

    @abstractmethod
    def write_manifold(self, path: Path, model: Any, grid: Any) -> None:
        """Draws the manifold between four examples into a picture file."""
