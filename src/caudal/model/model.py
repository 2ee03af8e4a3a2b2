"""A model: a flow with what its data are, so that it speaks in the user's own rows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge
from torch import Tensor

from caudal import files
from caudal.base import FREE
from caudal.bijections import by_sweeps
from caudal.data import Dataset, Schema, TensorSchema, as_container, container_of, like, like_data
from caudal.errors import InputError
from caudal.fields import check_value
from caudal.flow import Flow
from caudal.modality import Modality, Request, Voice, modality, modality_of
from caudal.model import (
    alarm,
    explaining,
    exporting,
    finishing,
    imputing,
    predicting,
    sampling,
    scoring,
    settings,
    students,
)
from caudal.model.densities import draws_of, scored
from caudal.model.finishing import BASELINE
from caudal.recipes import Recipe
from caudal.report import (
    Distilled,
    Evaluation,
    Recognition,
    evaluate,
    load_baseline,
    recognise,
)
from caudal.training.checkpoint import MODEL, find_model, load_model, save_model
from caudal.training.devices import find_device
from caudal.training.fit import Fitted
from caudal.training.options import Count
from caudal.training.rebuilt import check_rebuilt
from caudal.training.rows import fingerprint
from caudal.training.run import Run
from caudal.training.seeds import check_seed


class Model:
    """A flow with its recipe and its schema: what a run is in memory.

    It takes the user's own data (paths, DataFrames, arrays, images, clips) and gives samples back
    in the same form. `flow` is for those who want tensors.

    Attributes:
        flow: in evaluation mode.
        recipe: that built it; if none is given, the recipe and the schema that the flow knows.
        schema: what its data are; of plain tensors it follows from the flow.
        config: the options it was made with; empty for a model file without its folder.
        folder: the run folder, or None for a model in memory.
        name: what messages call it.
        fitted: how its training went, where it was trained in this process.
        evaluation: on test data, where that was done in this process.
        distilled: for a student, the comparison with its teacher.
        page: the report, where it was written in this process.
    """

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
        what = "plain tensors" if self._schema is None else self.schema.what
        return f"Model({self.recipe.name} of {what}, {self.flow.kind})"

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

    def dataset_or(self, instead: str = "") -> Dataset:
        """The same, with the advice `instead`, if any, where the data are not to be had."""
        if self._dataset is None:
            self._dataset = self._reopened(instead)
            for note in self._dataset.notes:
                self.voice.note(note)
        return self._dataset

    def _reopened(self, instead: str) -> Dataset:
        or_else = f", or {instead}" if instead else ""
        config = {**self.config, **self._data}
        if not settings.is_there(config.get("data")):
            raise InputError(
                f"{self.name} holds no data, and does not say which it was trained on: give them "
                f"again in Python, as caudal.load({self.name!r}, data=...){or_else}"
            )
        for option, path in settings.missing_paths(config):
            raise InputError(
                f"no file {path}, which {self.name} was trained with (`{option}`): put it back"
                f"{or_else}"
            )
        options = settings.data_options(config, self.kind)
        dataset = self.kind.open(options, self.recipe, self.schema, self.voice)
        before = self.metadata.get("data", {}).get("train")
        if before is None or before == fingerprint(dataset.train):
            return dataset
        change = f"{dataset.name} changed since the run was trained: its rows, and their split"
        return replace(dataset, notes=(*dataset.notes, f"{change}, are others now"))

    # --- scores ---------------------------------------------------------------------------------

    def log_prob(
        self, data: Any, *, seed: int = 0, draws: int | None = None, **reading: Any
    ) -> Any:
        """The log-density of each row, image or clip of `data`, in nats: a Series or an array.

        `kind` of the flow says whether it is exact, a lower bound or an estimate. A row outside
        of the support has -inf; one with a missing value that the run left out has NaN. The noise
        that fills steps and gaps belongs to the values of a row and the seed, so that a score does
        not depend on the other rows, and equal rows have equal scores.

        Args:
            data: a path, a DataFrame, an array, images or clips, as the model was trained on.
            seed: of the noise that fills steps and gaps, and of estimates.
            draws: how many of them a score is the mean of, where there are any; if None, as many
                as the kind of data needs: 32 for rows of a table, 4 for images, 1 for clips.
            reading: options of how such data are read, as of `caudal score`.

        Raises:
            InputError: the data do not fit the model.
            NumericalError: a log-density is not a number.
        """
        check_seed(seed)
        draws = draws_of(self, draws)
        parts = scored(self, self.open_all(data, reading), seed, draws)
        values = np.concatenate([log_prob for _, log_prob, _ in parts])
        return as_container(values, "log_prob", data)

    def score(
        self,
        data: Any,
        out: str | Path,
        *,
        seed: int = 0,
        draws: int | None = None,
        overwrite: bool = False,
        alarm: float | None = None,
        explain: int = 0,
        **reading: Any,
    ) -> scoring.Scores:
        """Writes `data` with their log-density beside them to the table file `out`.

        Beside the mean of several draws (see `log_prob`) stands its standard error.

        Args:
            data: as of `log_prob`.
            out: the file.
            seed: as of `log_prob`.
            draws: as of `log_prob`.
            overwrite: whether a file at `out` is replaced.
            alarm: a rate of false alarms, for a column that says which rows are below the
                threshold of that rate (see `threshold`).
            explain: for how many rows of lowest log-density to say which columns are to blame
                (see `explain`); the result has that in `explained`.
            reading: options of how such data are read, as of `caudal score`.

        Raises:
            InputError: as `log_prob`, `threshold` and `explain`, or the file cannot be written.
            NumericalError: as `log_prob`.
        """
        lowest = explaining.lowest(self, explain)
        asked = (seed, draws, overwrite, alarm, lowest, reading)
        scores = scoring.score(self, data, out, *asked)
        if lowest is not None:
            scores.explained = lowest.explain(self, seed)
        return scores

    def predict(
        self, data: Any, *, levels: Sequence[float] = predicting.LEVELS, **reading: Any
    ) -> Any:
        """What a model with a target expects there in each row of `data`, beside the row.

        For a target of numbers, such as `price`, it adds the columns `price_mean` and, for each
        level, a quantile such as `price_q95`, below which 95 % of the distribution lie. For one of
        categories it adds `price_likeliest`, its probability `price_p`, and that of each class as
        `price_p_CLASS`, if there are at most 100. All are exact: a flow of one number is monotone,
        so that no draws are needed; the mean is that of 100 quantiles.

        Args:
            data: as of `log_prob`; they need not have the target.
            levels: of the quantiles, between 0 and 1.
            reading: options of how such data are read, as of `caudal predict`.

        Raises:
            InputError: the model has no target, a level is out of its range, or the data do not
                fit the model.
        """
        table = predicting.predict(self, data, levels, reading)
        return like_data(table, data)

    def write_predictions(
        self,
        data: Any,
        out: str | Path,
        *,
        levels: Sequence[float] = predicting.LEVELS,
        overwrite: bool = False,
        **reading: Any,
    ) -> predicting.Predicted:
        """Writes `data` with what `predict` adds to the table file `out`.

        Raises:
            InputError: as `predict`, or the file cannot be written.
        """
        return predicting.write(self, data, out, levels, overwrite, reading)

    def quantiles(self, data: Any, levels: Sequence[float], **reading: Any) -> np.ndarray:
        """Quantiles (N, L) of a target of numbers given each row of `data`, in its own units.

        Raises:
            InputError: as `predict`.
        """
        return predicting.quantile_numbers(self, data, levels, reading)

    def explain(
        self,
        data: Any,
        *,
        rows: tuple[int, ...] = (),
        n: int = 10,
        seed: int = 0,
        **reading: Any,
    ) -> Any:
        """Which columns make rows of a table unlikely: a table of the kind that `data` is.

        For each row, the lowest log-density first, it has a line for each column, the most
        surprising first. The columns are

        - `row`, its number from 1, and `log_prob`, its log-density in nats;
        - `column`, and its `value`, as text; null is a missing one;
        - `expected`, `low` and `high`: the median of the column given the others of the row, and
          its quantiles of 5 and 95 %; of categories the likeliest alone;
        - `surprise`: by how many nats the value is less likely, given the others, than such values
          are on average; so columns compare. inf outside of the column's support, null where the
          row is outside of another's;
        - `conditional`: log p(value | others) in nats.

        See `caudal.conditionals` for the equations. Columns of context are given, not explained.

        Args:
            data: as of `log_prob`.
            rows: the numbers, from 1, of the rows to explain.
            n: how many rows of lowest log-density to explain, if `rows` names none.
            seed: of the noise that fills steps and gaps.
            reading: options of how such data are read, as of `caudal score`.

        Raises:
            InputError: as `log_prob`; the model is not one of tables, or there is no such row.
        """
        table = explaining.explain(self, data, rows, n, seed, reading)
        kind = container_of(data)
        return like(table, kind if kind in ("pandas", "polars") else "pyarrow")

    def threshold(self, rate: float | None = None) -> alarm.Threshold | None:
        """The log-density below which new rows like those of the training are at that rate.

        It is a quantile of the log-densities of validation rows, which a run keeps in alarm.json;
        see `caudal.model.alarm.Alarm`. The rate is at most 0.1.

        Args:
            rate: of such false alarms; if None, 0.01, and None is given where that is not known.

        Raises:
            InputError: there are too few validation rows for the rate, or none are to be had.
        """
        if self._alarm is None:
            self._alarm = alarm.read(self.folder)
        if rate is None:
            return None if self._alarm is None else self._alarm.usual()
        if self._alarm is None:
            if not self.kind.judged:
                raise InputError(
                    f"`alarm` is for rows of tables, and {self.name} models {self.schema.what}: "
                    f"leave it out"
                )
            self._alarm = alarm.measure(self, self.kind.judged)
        return self._alarm.at(rate)

    def evaluate(
        self,
        data: Any = None,
        *,
        limit: int | None = None,
        seed: int = 0,
        draws: int = 1,
        samples: int | None = None,
        copies: int | None = None,
        recognised: int | None = None,
        **reading: Any,
    ) -> Evaluation:
        """The mean score of test data, with its error, beside the baseline's.

        Samples of a table are compared with its test rows, too (`Evaluation.scoreboard`).

        The result goes to eval.json in the run folder, unless `data` or `limit` make it one of
        other rows.

        Args:
            data: other data to evaluate, instead of the run's own test part.
            limit: how many items to take at most, from all over the data, always the same ones.
            seed: of the noise that fills steps and gaps, and of estimates.
            draws: of that noise for each item.
            samples: how many samples of a table are compared with as many test rows at most; 0 for
                none, 2,000 if None.
            copies: how many clips of sound are copied from their spectra at most; 16 if None.
            recognised: of how many images or clips it is told at most how often the likelihood
                given each label picks theirs (`Evaluation.recognitions`); 500 or 100 if None.
            reading: options of how other data are read, as of `caudal eval`.

        Raises:
            InputError: the data cannot be opened, or an argument is out of its range.
            NumericalError: a log-density is not a number.
        """
        check_value("limit", limit, Count | None)
        check_value("draws", draws, Count)
        for name, value in (("samples", samples), ("copies", copies), ("recognised", recognised)):
            check_value(name, value, Annotated[int, Ge(0)] | None)
        check_seed(seed)
        source, split = self._to_evaluate(data, reading)
        if self.is_slow_to_score:
            self.voice.note(
                f"{self.recipe.name} scores one sample at a time, which takes long: `limit` takes "
                f"fewer {self.schema.many}"
            )
        result = evaluate(
            self.flow,
            source,
            self._baseline(fit=data is None or self._dataset is not None),
            self.schema,
            split=split,
            limit=limit,
            seed=seed,
            draws=draws,
            track=self.voice.track,
            beginning=self._beginning(),
        )
        if (judge := self.judge()) is not None:
            result = replace(result, target=judge.judge(source, limit, seed))
        if data is None:
            result = replace(result, scoreboard=self._scoreboard(samples, seed))
        most = min((n for n in (limit, copies) if n is not None), default=None)
        copied = self.kind.copy(self.flow, source, self.schema, most, self.voice)
        result = replace(result, copies=copied)
        labelled = self._recognise(source, limit, recognised, seed)
        result = replace(result, recognitions=labelled)
        if data is None and limit is None and self.folder is not None:
            finishing.keep_evaluation(self.folder, result)
        if data is not None:
            return replace(result, split=None, data=split)
        self.evaluation = result
        return result

    def _recognise(
        self, source: Any, limit: int | None, recognised: int | None, seed: int
    ) -> tuple[Recognition, ...]:
        """How often the likelihood given each label picks an item's own, where that is told."""
        usual = self.kind.classified if recognised is None else recognised
        if not self.kind.classified or self.is_slow_to_score:
            return ()
        most = usual if limit is None else min(limit, usual)
        return recognise(self.flow, source, self.schema, most, seed, self.voice.track)

    def _scoreboard(self, samples: int | None, seed: int) -> Any:
        """How samples compare with test rows, where the kind of data has such measures."""
        if self.kind.scoreboard is None or samples == 0:
            return None
        beginning = self._beginning()
        flow = None if beginning is None else beginning.flow
        return self.kind.scoreboard(self.flow, self.dataset, flow, samples, seed)

    def _to_evaluate(self, data: Any, reading: Mapping[str, Any]) -> tuple[Any, str]:
        if data is None:
            self.options(self.kind.reading, reading)
            return self.dataset_or(f"give other {self.schema.many} with `data`").test, "test"
        items = self.open_all(data, reading)
        return items.source, settings.name_of(data)

    def open_all(self, data: Any, reading: Mapping[str, Any]) -> Any:
        """Everything in `data`, encoded as the run's own data; its notes are told."""
        options = self.options(self.kind.reading, reading)
        items = self.kind.open_all(data, self.schema, options, self.config, self.voice)
        for note in items.notes:
            self.voice.note(note)
        return items

    def open_given(self, data: Any, reading: Mapping[str, Any]) -> Any:
        """As `open_all`, of `data` that need not have the columns that the flow models."""
        options = self.options(self.kind.reading, reading)
        items = self.kind.open_given(data, self.schema, options, self.config, self.voice)
        for note in items.notes:
            self.voice.note(note)
        return items

    def options(self, of: type, values: Mapping[str, Any]) -> Any:
        """Options of the modality from keywords.

        Raises:
            InputError: the modality has no such option.
        """
        return settings.options_of(of, values, self.schema.what)

    def _baseline(self, fit: bool) -> Any:
        """The baseline that the run left behind; else, if `fit`, one fitted to its data."""
        path = None if self.folder is None else self.folder / BASELINE
        if path is not None and path.exists():
            return load_baseline(path, self.schema.kind, self.flow, self.schema)
        return self.kind.baseline.fit(self.flow, self.dataset.train, self.schema) if fit else None

    def _beginning(self) -> Any:
        """The second baseline of data whose training rows are at hand; it is fitted once."""
        if self.kind.beginning is None or self._dataset is None:
            return None
        if self._fitted_beginning is None:
            asked = self.flow, self.dataset.train, self.schema
            self._fitted_beginning = self.kind.beginning.fit(*asked)
        return self._fitted_beginning

    def judge(self, fits: int | None = None) -> Any:
        """What judges the predictions of a target; models beside the flow are fitted once.

        There are so many fits of trees, all if None. It is None for a model without a target.
        """
        if self.kind.target is None:
            return None
        if self._fitted_judge is None:
            train = None if self._dataset is None else self._dataset.train
            asked = self.flow, train, self.schema, self.voice.track, fits
            judge = self.kind.target.fit(*asked)
            if train is None:
                return judge
            self._fitted_judge = judge
        return self._fitted_judge

    # --- samples --------------------------------------------------------------------------------

    def sample(
        self,
        n: int | None = None,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        sweeps: bool = False,
        **drawing: Any,
    ) -> Any:
        """New rows, images or clips, in the form of the data the model was trained on.

        A table comes back as the kind of table it was (a pyarrow Table if it was a file), images
        as uint8 (N, H, W, C), clips as a list of `Sound`, amplitudes with their rate.

        Args:
            n: how many; a usual number for the kind of data if None.
            seed: of the noise, and of which contexts are drawn.
            temperature: multiplies the noise; below 1 samples are likelier and less varied.
            sweeps: flows that sample one element at a time draw all at once, by iteration.
            drawing: options of the kind of data, as of `caudal sample`, such as `given`.

        Raises:
            InputError: an argument is out of its range, or the contexts do not fit.
        """
        job = sampling.job(self, n, seed, temperature, sweeps, drawing)
        return self.kind.collect(self.schema, list(job.parts()), self.container)

    def stream(
        self,
        mel_of: Any = None,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        **drawing: Any,
    ) -> Iterator[Any]:
        """Sound as it is made: pieces of `Sound`, amplitudes (n, 1) with their rate.

        Joined, they are the clips that `sample` gives with the same arguments, to the bit, one
        after the other. A piece of a flow that samples one value at a time is there as soon as it
        is made, and a student makes each of its pieces in one pass.

        Args:
            mel_of: what to make sound of, a spectrum or a clip, as of `caudal sample --mel-of`.
            seed: of the noise.
            temperature: multiplies the noise.
            drawing: other options, as of `caudal sample`, such as `given` and `seconds`.

        Raises:
            InputError: as `sample`, or the model is not one of sound.
        """
        asked = drawing if mel_of is None else {**drawing, "mel_of": mel_of}
        return sampling.stream(self, seed, temperature, asked)

    def write_samples(
        self,
        out: str | Path,
        n: int | None = None,
        *,
        seed: int = 0,
        temperature: float = 1.0,
        sweeps: bool = False,
        overwrite: bool = False,
        **drawing: Any,
    ) -> sampling.Written:
        """Writes new samples to `out`, whose name chooses the form; arguments as of `sample`.

        Raises:
            InputError: as `sample`, or nothing can be written there.
        """
        asked = (n, seed, temperature, sweeps, drawing)
        return sampling.write(self, str(out), overwrite, *asked)

    def impute(self, data: Any, *, draws: int = 1, seed: int = 0, **reading: Any) -> Any:
        """`data` with their missing values drawn given what is there, in their own form.

        Each gap of a modelled column is drawn from p(what is missing | what is there) of its row,
        as if it were missing by chance; all other cells stay as they are. With several draws the
        rows come as often, one draw after the other, and a column `draw` numbers these from 1.

        Args:
            data: a path, a DataFrame or an array with the columns of the run.
            draws: how often each gap is drawn: what differs between draws is not known.
            seed: of the draws.
            reading: options of how a text file is read, as of `caudal impute`.

        Raises:
            InputError: the data do not fit the model, or are no table.
            NumericalError: a log-density is not a number.
        """
        return imputing.impute(self, data, draws, seed, reading)[0]

    def write_imputed(
        self,
        data: Any,
        out: str | Path,
        *,
        draws: int = 1,
        seed: int = 0,
        overwrite: bool = False,
        **reading: Any,
    ) -> imputing.Imputed:
        """Writes `data` with their gaps filled to the table file `out`; arguments as of `impute`.

        From a text file into one with the same suffix the lines go as they are, but for the gaps.

        Raises:
            InputError: as `impute`, or the file cannot be written.
            NumericalError: as `impute`.
        """
        return imputing.write(self, data, out, draws, seed, overwrite, reading)

    def draw(self, temperature: float = 1.0) -> Callable[[Request, torch.Generator], Tensor]:
        """The plain way to draw: the flow's own samples."""
        like = self.flow.base.like

        def draw(request: Request, generator: torch.Generator) -> Tensor:
            context = None if request.context is None else request.context.to(like)
            length = request.length
            return self.flow.sample(request.n, context, temperature, generator, length=length)

        return draw

    def sweeping(self, sweeps: bool) -> AbstractContextManager[None]:
        """Within, a sequential flow samples by sweeps, if that is asked for.

        Raises:
            InputError: the flow does not sample one element at a time.
        """
        if not sweeps:
            return nullcontext()
        if self.recipe.samples != "sequential":
            raise InputError(
                f"`sweeps` is for flows that sample one element at a time, and the "
                f"{self.recipe.name} of {self.name} does not: leave it out"
            )
        return by_sweeps(self.flow)

    def interpolate(
        self,
        out: str | Path | None = None,
        *,
        data: Any = None,
        rows: tuple[int, ...] = (),
        n: int = 8,
        seed: int = 0,
        overwrite: bool = False,
        **reading: Any,
    ) -> sampling.Manifold:
        """The manifold between four examples, which the flow decodes from noise between theirs.

        z = cos phi (cos phi' z1 + sin phi' z2) + sin phi (cos phi' z3 + sin phi' z4), so that the
        four come back at the corners.

        Args:
            out: a picture to write, if any.
            data: where the four come from, instead of the run's own test part.
            rows: numbers of the four, from 1; chosen by `seed`, of different classes, if empty.
            n: items along each side.
            seed: of the choice, and of the noise between values in steps.
            overwrite: whether a file at `out` is replaced.
            reading: options of how other data are read.

        Raises:
            InputError: nothing lies between such data, or an argument is out of its range.
        """
        return sampling.interpolate(self, out, data, rows, n, seed, overwrite, reading)

    # --- keeping --------------------------------------------------------------------------------

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Writes the model, its config and its training curve to a run folder; gives the folder.

        Raises:
            InputError: a run is there already, or the recipe builds another flow.
        """
        path = files.path_of(folder, "folder")
        check_rebuilt(self.flow, self.recipe, self._schema)
        is_own = self.folder is not None and path.resolve() == self.folder.resolve()
        config = settings.wherever_read(self.config)
        run = Run(folder, config=config, overwrite=overwrite and not is_own)
        Run(folder, overwrite=overwrite).check_folder("folder", goes_on=False)
        run.begin()  # the numbers and pictures of another model would be taken for those of this
        save_model(run.model_path, self.flow, self.recipe, self._schema, self._extra())
        if self.fitted is not None:
            run.write_metrics(self.fitted.history)
        self.folder, self.name = run.path, str(folder)
        return run.path

    def _extra(self) -> dict[str, Any]:
        """What the model file holds beside the weights: where they are from, and of which rows."""
        names = ("step", "valid", "data")
        extra = {name: self.metadata[name] for name in names if name in self.metadata}
        if self.fitted is not None:
            extra |= {"step": self.fitted.best_step, "valid": self.fitted.best_valid}
        if self.fitted is not None and self._dataset is not None:
            parts = {"train": self._dataset.train, "validation": self._dataset.valid}
            extra["data"] = {name: fingerprint(part) for name, part in parts.items()}
        return extra

    def export(self, out: str | Path, *, overwrite: bool = False) -> exporting.Exported:
        """Writes the density as an ONNX graph to `out`, and its samples given noise beside it.

        Rows go in as the schema encodes them, in batches of any size; the metadata of the graphs
        have the schema, the recipe, and the threshold of an alarm. ONNX Runtime checks both.

        Raises:
            InputError: a package of `caudal[onnx]` is missing, a file is there, or the flow has no
                such graph: its events have any length, or its density is an estimate.
            NumericalError: ONNX Runtime gives other numbers.
        """
        return exporting.export(self, out, overwrite)

    def report(self) -> Path:
        """Writes report.html, with its pictures, into the run folder; gives its path.

        Raises:
            InputError: the model has no folder yet: save it first.
        """
        return finishing.write_page(self)

    def distill(
        self,
        out: str | Path | None = None,
        *,
        student: str | Recipe | type[Recipe] | None = None,
        resume: bool = False,
        from_best: bool = False,
        overwrite: bool = False,
        voice: Voice | None = None,
        **options: Any,
    ) -> "Model":
        """Trains a student that samples in one pass to be this model, which samples step by step.

        The student minimises divergences from its teacher (for sound also a distance of spectra
        from real clips), and is then compared with it: its `distilled` has the numbers.

        Args:
            out: the run folder of the student; None keeps it in memory.
            student: its recipe; if None an inverse autoregressive flow of the teacher's depth, or
                the coupling flow that suits the data.
            resume: whether to go on with the run in `out`.
            from_best: whether to go on from its best model, with a new optimiser.
            overwrite: whether the run in `out` is replaced.
            voice: tells notes and progress; silent if None.
            options: fields of the student's recipe, of `Training`, and of the options of
                distillation.

        Raises:
            InputError: the two do not go together, or an option or the folder cannot be used.
            NumericalError: a loss or a gradient was not finite.
            Interrupted: Ctrl-C or SIGTERM; the state is saved in `out`.
        """
        modes = {"resume": resume, "from_best": from_best, "overwrite": overwrite}
        return students.distill(self, out, student, modes, voice, options)

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
        config = settings.read_run_config(Run(folder), kind)
    sources = {"data": data, "valid": valid, "test": test}
    return Model(
        loaded.flow.to(find_device(device)),
        loaded.recipe,
        loaded.schema,
        config=config,
        folder=folder,
        name=str(run),
        metadata=loaded.metadata,
        data={k: v for k, v in sources.items() if settings.is_there(v)},
        container=container_of(data),
        voice=voice,
    )
