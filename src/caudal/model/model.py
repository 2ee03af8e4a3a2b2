"""A model: a flow with what its data are, so that it speaks in the user's own rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caudal.base import FREE
from caudal.data import Dataset, Schema, TensorSchema, container_of
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.modality import Modality, Voice, modality, modality_of
from caudal.model import (
    alarm,
    choices,
    densities,
    evaluating,
    explaining,
    exploring,
    exporting,
    finishing,
    hub,
    imputing,
    interpolating,
    opening,
    predicting,
    sampling,
    saving,
    scoring,
    students,
)
from caudal.model.config import read_run_config
from caudal.model.densities import draws_of
from caudal.recipes import Recipe
from caudal.report import Distilled, Evaluation
from caudal.training.checkpoint import MODEL, find_model, load_model
from caudal.training.devices import find_device
from caudal.training.fit import Fitted
from caudal.training.run import Run


class Model:
    """A flow with its recipe and its schema: what a run is in memory.

    It takes the user's own data (paths, DataFrames, arrays, images, clips) and gives samples back
    in the same form. `flow` is for those who want tensors.

    Attributes:
        flow: in evaluation mode.
        recipe: the one that built it; by default the recipe and the schema that the flow knows.
        schema: what its data are; of plain tensors it follows from the flow.
        config: the options it was made with; empty for a model file without its folder.
        folder: the run folder, or None for a model in memory.
        name: what messages call it.
        fitted: how its training went, where it was trained in this process.
        evaluation: on test data, where that was done in this process.
        distilled: for a student, the comparison with its teacher.
        page: the report, where it was written in this process.
    """

    flow: Flow
    recipe: Recipe
    config: dict[str, Any]
    folder: Path | None
    name: str
    fitted: Fitted | None

    def __init__(
        self,
        flow: Flow,
        recipe: Recipe | None = None,
        schema: Schema | None = None,
        *,
        config: Mapping[str, Any] | None = None,
        folder: Path | None = None,
        name: str = "the model",
        metadata: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
        dataset: Dataset | None = None,
        container: str = "pyarrow",
        fitted: Fitted | None = None,
        voice: Voice | None = None,
    ) -> None:
        if recipe is None:
            recipe, schema = _origin(flow)
        self.flow, self.recipe, self._schema = flow.eval(), recipe, schema
        self.config, self.folder, self.name = dict(config or {}), folder, name
        self.metadata = dict(metadata or {})
        self.fitted = fitted
        self.evaluation: Evaluation | None = None
        self.distilled: Distilled | None = None
        self.page: Path | None = None
        self.container, self.voice = container, voice or Voice()
        self._data, self._dataset = dict(data or {}), dataset
        self._fitted_beginning: Any = None
        self._fitted_judge: Any = None
        self._alarm: alarm.Alarm | None = None

    def __repr__(self) -> str:
        return f"Model({self.recipe.name} of {self.what}, {self.flow.kind})"

    # --- what it is -----------------------------------------------------------------------------

    @property
    def schema(self) -> Schema:
        """What its data are.

        Raises:
            InputError: the flow was trained on plain tensors that are no vectors.
        """
        if self._schema is not None:
            return self._schema
        if self._dataset is not None:
            return self._dataset.schema
        return TensorSchema.of(self.flow.event_shape, self.flow.base.like.dtype)

    @property
    def what(self) -> str:
        """What its data are, in words; a flow of plain tensors may have no schema."""
        return "plain tensors" if self._schema is None else self.schema.what

    @property
    def kind(self) -> Modality:
        """The modality of its data."""
        return modality_of(self.schema)

    @property
    def from_command(self) -> bool:
        """Whether a command could make it: of plain tensors none can."""
        return self._schema is not None

    @property
    def drops(self) -> bool:
        """Whether rows with missing values were left out of its data."""
        return self.config.get("missing") == "drop"

    @property
    def is_slow_to_score(self) -> bool:
        """Whether a density takes one step for each element of an item of any length."""
        return self.recipe.scores == "sequential" and FREE in self.flow.event_shape

    @property
    def dataset(self) -> Dataset:
        """The data it was trained on, split as they were then; a note where they have changed.

        Raises:
            InputError: they cannot be opened, or it is not known which they were.
        """
        return self.dataset_or()

    # --- what it does: each function has a file of its own, or shares one with its like ---------

    log_prob = densities.log_prob
    score = scoring.score
    threshold = alarm.threshold
    explain = explaining.explain
    evaluate = evaluating.evaluate

    predict = predicting.predict
    write_predictions = predicting.write_predictions
    quantiles = predicting.quantiles

    sample = sampling.sample
    stream = sampling.stream
    write_samples = sampling.write_samples
    interpolate = interpolating.interpolate

    impute = imputing.impute
    write_imputed = imputing.write_imputed

    save = saving.save
    export = exporting.export
    push = hub.push
    report = finishing.write_page
    distill = students.distill
    explore = exploring.explore

    # --- what those functions and the modalities ask of it --------------------------------------

    dataset_or = opening.dataset_or
    open_all = opening.open_all
    open_given = opening.open_given
    options = opening.options
    draws_of = draws_of
    judge = evaluating.judge
    draw = sampling.draw
    sweeping = sampling.sweeping

    def other(self, run: "Model | str | Path") -> "Model":
        """The model of another run, on the device of this one; a model as it is."""
        if isinstance(run, Model):
            return run
        return load(run, device=str(self.flow.base.like.device), voice=self.voice)


def _origin(flow: Flow) -> tuple[Recipe, Schema | None]:
    """What the flow was built from."""
    if flow.origin is None:
        raise InputError(
            "no recipe has built this flow: put what builds it into a function, with "
            "@caudal.recipe above it, and build it by that"
        )
    return flow.origin.recipe, flow.origin.schema


def load(
    run: str | Path,
    *,
    data: Any = None,
    valid: Any = None,
    test: Any = None,
    device: str = "cpu",
    voice: Voice | None = None,
) -> Model:
    """The model of a run folder or a .safetensors file, in evaluation mode.

    Args:
        run: the folder or the file.
        data: what it was trained on, where that came as a Python object, which no folder keeps,
            or is elsewhere now: evaluation, the report, contexts of samples and students need it.
        valid: its validation data likewise, if they were given.
        test: its test data likewise.
        device: cpu, cuda, cuda:1, mps, or auto for a GPU if there is one.
        voice: tells notes and progress; silent if None.

    Raises:
        InputError: the file is missing or damaged.
    """
    path = find_model(run)
    loaded = load_model(path)
    folder = path.parent if path.name == MODEL else None  # another file is no run's model
    config = {}
    if folder is not None:
        kind = modality("tensors") if loaded.schema is None else modality_of(loaded.schema)
        config = read_run_config(Run(folder), kind)
    sources = {"data": data, "valid": valid, "test": test}
    return Model(
        loaded.flow.to(find_device(device)),
        loaded.recipe,
        loaded.schema,
        config=config,
        folder=folder,
        name=str(run),
        metadata=loaded.metadata,
        data={k: v for k, v in sources.items() if choices.is_there(v)},
        container=container_of(data),
        voice=voice,
    )
