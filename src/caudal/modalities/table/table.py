"""Tables: rows of named columns, from files, DataFrames and arrays."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from caudal.data import (
    Dataset,
    Items,
    Rows,
    TableSchema,
    TableWriter,
    like,
    open_data,
    open_gaps,
    open_rows,
)
from caudal.data.refusals import TABLES
from caudal.data.source import as_often
from caudal.data.table.dialect import Dialect
from caudal.data.table.listed import COLUMNS_FILE, write_columns
from caudal.data.table.tables import FORMATS, finds_table, text_size
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.modalities.contexts import CHUNK, Contexts, rows_in
from caudal.modalities.rows import (
    OneShape,
    chunk_sizes,
    class_names,
    contexts_of,
    endless,
    in_chunks,
    nothing_between,
)
from caudal.modalities.table.alike import in_turns, rows_alike
from caudal.modalities.table.dressed import dress_table
from caudal.modalities.table.exact import Exact
from caudal.modalities.table.explaining import explain
from caudal.modalities.table.given import Asked, Conditioned
from caudal.modalities.table.options import TableDrawing, TableOptions, TableReading
from caudal.modalities.table.preview import advice, preview
from caudal.modality import Examples, Request, Requests, Voice, Watch, opening
from caudal.recipes import Recipe
from caudal.recipes.nsf import SplineRecipe
from caudal.recipes.sizes import size_of
from caudal.report import (
    ColumnsFilm,
    Copula,
    Gaussian,
    TableGuide,
    TableTeller,
    TargetJudge,
    folder_of,
    image_side,
    score_samples,
    write_table_manifold,
)

_DRAWN_ROWS, _DRAWN_NUMBERS = 8192, 1 << 20  # at a time: bounds the memory
_FEW_ROWS, _MANY_ROWS, _LONG = 500, 50_000, 30.0  # minutes
_LARGE_TEXT = 1 << 28  # bytes
_WIDE = 256  # columns, beyond which LU maps cost more than they teach
_PIECE_NUMBERS = 1 << 17  # in a piece of a batch: splines keep some hundred bytes for each
_SPLINES = ("nsf", "nsf-ar", "nsf-iaf")
_ONE_COLUMN: Mapping[str, Mapping[str, Any]] = {
    "small": {"layers": 2},
    "medium": {"layers": 2, "hidden": 128},
    "large": {"layers": 3, "hidden": 256},
}


class Table(OneShape):
    """Tables of numbers and categories, with missing values."""

    name = "table"
    what = "rows of a table"
    names = TABLES
    formats = FORMATS
    options = TableOptions
    reading = TableReading
    drawing = TableDrawing
    filling = Dialect
    baseline, beginning, target = Gaussian, Copula, TargetJudge
    scoreboard, scoreboard_seconds = staticmethod(score_samples), 6.0
    draws = 32  # of the 100 rows of adult that score lowest, 97 to 99 stay under another seed
    explainer = staticmethod(explain)
    judged = 1 << 16
    teller = TableTeller
    guide = TableGuide()
    usual_samples = 1000
    trainable = "maf, nsf or another recipe of vectors (caudal recipes)"
    usual_recipe = "nsf"

    # --- data -----------------------------------------------------------------------------------

    def recognises(self, data: Any) -> bool:
        return finds_table(data)

    def takes(self, recipe: type[Recipe]) -> bool:
        return recipe.vectors

    def open(
        self,
        options: TableOptions,
        recipe: Recipe,
        schema: TableSchema | None,
        voice: Voice,
    ) -> Dataset:
        _announce(options.data, voice)
        return open_data(**opening(options), schema=schema)

    def open_all(
        self,
        data: Any,
        schema: TableSchema,
        reading: TableReading,
        options: Mapping[str, Any],
        voice: Voice,
    ) -> Items:
        missing = reading.missing or options.get("missing", "auto")
        if options.get("strict") and missing != "drop":
            missing = "refuse"
        _announce(data, voice)
        strict = bool(options.get("strict"))
        asked = _as_trained(Dialect.of(reading), options)
        weights = options.get("weights")
        return open_rows(data, schema, missing, strict=strict, weights=weights, **asked)

    def open_given(
        self,
        data: Any,
        schema: TableSchema,
        reading: TableReading,
        options: Mapping[str, Any],
        voice: Voice,
    ) -> Items:
        chosen = {**options, "columns": [column.name for column in schema.context]}
        return self.open_all(data, replace(schema, columns=()), reading, chosen, voice)

    def open_gaps(
        self, data: Any, schema: TableSchema, filling: Dialect, options: Mapping[str, Any]
    ) -> Items:
        strict = bool(options.get("strict"))
        refuse = strict or options.get("missing") == "refuse"
        asked = _as_trained(filling, options)
        return open_gaps(data, schema, drop=not refuse, strict=strict, **asked)

    def papers(self, options: TableOptions, dataset: Dataset) -> Mapping[str, str]:
        text = write_columns(dataset.schema, dataset.summary, options.exclude)
        return {COLUMNS_FILE: text}

    # --- flows ----------------------------------------------------------------------------------

    def training(self, recipe: type[Recipe]) -> Mapping[str, Any]:
        """Splines over marginals that are already normal tolerate a larger learning rate.

        Gradients are 10 to 300 long: a limit that acts in every step would be a rate of its own.
        The moving average of the weights allows the larger rate, and delays overfitting to few
        rows.
        """
        rate = {"lr": 5e-3} if issubclass(recipe, SplineRecipe) else {}
        return {"clip": 100.0, "ema": 0.98, **rate}

    def size(self, dataset: Dataset, minutes: float | None) -> str | None:
        """By the rows: few teach a small net alone; many, and half an hour, a large one.

        A net as large as the one for many rows learns a few by heart within ten steps, so that
        little is gained before validation stops it.
        """
        rows = dataset.train.n_rows
        if rows <= _FEW_ROWS:
            return "small"
        if rows >= _MANY_ROWS and (minutes or 0) >= _LONG:
            return "large"
        columns = len(dataset.schema.columns)
        return "medium" if is_one_given_others(dataset.schema) or columns > _WIDE else None

    def sized(self, recipe: str, size: str, dataset: Dataset) -> Mapping[str, Any]:
        """Splines of a single column need few layers, as each one can take any shape.

        What is to be learned is how it depends on the context, and that is in the nets.
        """
        usual = size_of(recipe, size)
        if recipe not in _SPLINES:
            return usual
        if len(dataset.schema.columns) > _WIDE:
            return {**usual, "linear": False}
        own = _ONE_COLUMN.get(size, {}) if is_one_given_others(dataset.schema) else {}
        return {**usual, **own}

    def pieces(self, dataset: Dataset, batch_size: int) -> int:
        rows = min(batch_size, dataset.train.n_rows)
        numbers = rows * len(dataset.schema.columns)
        divisors = [n for n in range(1, rows + 1) if batch_size % n == 0]
        return next((n for n in divisors if numbers <= n * _PIECE_NUMBERS), divisors[-1])

    def watch(
        self, recipe: Recipe, flow: Flow, dataset: Dataset, seed: int, folder: Path
    ) -> Watch | None:
        """Leaves the distributions of columns, data beside samples, while the flow is trained."""
        return ColumnsFilm(folder_of(folder), flow, dataset, seed)

    def dress(self, recipe: Recipe, schema: TableSchema) -> Flow:
        return dress_table(recipe, schema)

    # --- samples --------------------------------------------------------------------------------

    def chunk(self, schema: TableSchema) -> int:
        return max(1, min(_DRAWN_ROWS, _DRAWN_NUMBERS // len(schema.columns)))

    def takes_unseen(self, model: Any) -> bool:
        return not model.config.get("strict")

    def contexts(
        self, model: Any, asked: Contexts, drawing: TableDrawing, seed: int, voice: Voice
    ) -> Iterator[Tensor]:
        """The contexts of training rows; if some columns are given, those of similar rows."""
        dataset = None
        if asked.partly:
            model.dataset_or("give contexts with `context_file` or `given`")
            trained = contexts_of(model)
            assert trained is not None
            rows, note = rows_alike(asked.columns, trained.cpu(), asked.fixed)
            voice.note(note)
            return in_turns(rows, CHUNK, seed)

        def one_pass(turn: int) -> Iterator[Tensor]:
            nonlocal dataset
            dataset = dataset or model.dataset_or("give contexts with `context_file` or `given`")
            train = as_often(dataset.train)
            rows = train.shuffled(min(CHUNK, train.n_rows), seed + turn)
            yield from (batch.context for batch in rows if batch.context is not None)

        return endless(one_pass)

    def draw(self, model: Any, drawing: TableDrawing, temperature: float) -> Any:
        asked = Asked.of(model.schema, drawing.given, drawing.context_file)
        if drawing.exact is None and not asked.conditions:
            return model.draw(temperature)
        what = "`exact`" if drawing.exact else f"`given` {asked.words}"
        if temperature != 1:
            raise InputError(f"{what} gives samples of the density: leave `temperature` out")
        if drawing.exact is None:
            return Conditioned(model, asked.words)
        if asked.conditions:
            raise InputError(f"`given` {asked.words}: is not for `exact`: leave one of them out")
        return Exact(model, drawing.exact, drawing.exact_steps or Exact.steps)

    def requests(
        self, model: Any, n: int | None, drawing: TableDrawing, seed: int, voice: Voice
    ) -> Requests:
        asked = Asked.of(model.schema, drawing.given, drawing.context_file)
        if not asked.conditions:
            return super().requests(model, n, drawing, seed, voice)
        file = drawing.context_file if asked.has_context else None
        if n is None and asked.file is not None and file is None:
            n = rows_in(asked.file)
        context: Any = asked.context
        contexts = replace(drawing, given=context, context_file=file)
        requests = super().requests(model, n, contexts, seed, voice)
        sizes = chunk_sizes(requests.samples, self.chunk(model.schema))
        rows = in_chunks(asked.rows(), sizes)
        each = (r._replace(given=v) for r, v in zip(requests.each, rows, strict=False))
        return requests._replace(each=each)

    def decode(self, schema: TableSchema, x: Tensor, request: Request) -> tuple[Any, ...]:
        return (schema.decode(x, request.context, start=request.start),)

    def cells(self, schema: TableSchema, grid: Tensor) -> np.ndarray:
        """Whole numbers of ink, (n, n, side, side)."""
        side = image_side(schema) or 1
        return grid.cpu().double().numpy().reshape(*grid.shape[:2], side, side)

    def writer(
        self, path: str, schema: TableSchema, drawing: Any, temperature: float
    ) -> TableWriter:
        escapes = isinstance(drawing, TableDrawing) and drawing.escape_formulas
        writer = TableWriter(path, schema.written, escapes)
        writer.check(schema.arrow)
        return writer

    def collect(self, schema: TableSchema, parts: list[tuple[Any, ...]], container: str) -> Any:
        import pyarrow as pa

        table = pa.concat_tables([table for (table,) in parts])
        return like(schema.under_headers(table), container)

    # --- what people see ------------------------------------------------------------------------

    def preview(self, dataset: Dataset) -> Iterator[Any]:
        return preview(dataset)

    def advice(self, recipe: Recipe, dataset: Dataset) -> list[str]:
        return advice(recipe, dataset)

    def next_commands(self, folder: str, schema: TableSchema) -> list[str]:
        predict = f"caudal predict {folder} --data NEW.csv --out predicted.csv"
        return [
            *([predict] if is_one_given_others(schema) else []),
            f"caudal sample {folder} -n 1000 --out samples.csv",
            f"caudal score {folder} --data NEW.csv --out scored.csv",
        ]

    # --- what lies between ----------------------------------------------------------------------

    def examples(self, model: Any, data: Any, reading: Any, voice: Voice) -> Examples:
        if image_side(model.schema) is None:
            raise nothing_between(model.name, self.what)
        rows, where = model.dataset.test, "test row"
        if data is not None:
            rows, where = model.open_all(data, {}).source, "row"
        assert isinstance(rows, Rows)
        names = [str(i + 1) for i in range(len(rows))]
        return Examples(rows, names, class_names(model.schema.context, rows.context), where)

    def write_manifold(self, path: Path, model: Any, grid: Any) -> None:
        x, context, _ = grid.four
        asked = (x, context, grid.n, grid.seed)
        write_table_manifold(path, model.flow, model.schema, *asked)


def _announce(data: Any, voice: Voice) -> None:
    """Says beforehand that a large text file takes a while to read."""
    if (size := text_size(data)) > _LARGE_TEXT:
        voice.say(f"reading {data}, {size / 1e9:.1f} GB of text: about a minute for each GB")


def _as_trained(dialect: Dialect, options: Mapping[str, Any]) -> dict[str, Any]:
    """How other data are read: as those of a run with these options, unless told otherwise."""
    names = [field.name for field in fields(Dialect)]
    trained = Dialect(**{name: options[name] for name in names if name in options})
    chosen = any(options.get(name) for name in ("columns", "exclude", "weights"))
    return {"chosen": chosen, "dialect": dialect.over(trained)}


def is_one_given_others(schema: TableSchema) -> bool:
    """Whether one column is modelled, given others."""
    return len(schema.columns) == 1 and bool(schema.context)
