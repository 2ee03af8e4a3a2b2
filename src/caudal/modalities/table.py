"""Tables: rows of named columns, from files, DataFrames and arrays."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge
from torch import Tensor

from caudal.data import (
    Dataset,
    Items,
    Rows,
    Summary,
    TableSchema,
    TableWriter,
    like,
    open_data,
    open_gaps,
    open_rows,
)
from caudal.data.refusals import TABLES
from caudal.data.table.dialect import Dialect
from caudal.data.table.guess import PASSED
from caudal.data.table.listed import COLUMNS_FILE, write_columns
from caudal.data.table.tables import FORMATS, finds_table, text_size
from caudal.errors import InputError
from caudal.fields import check_fields
from caudal.flow import Flow
from caudal.modalities.alike import in_turns, rows_alike
from caudal.modalities.contexts import CHUNK, Contexts, rows_in
from caudal.modalities.dressed import dress_table
from caudal.modalities.exact import Exact
from caudal.modalities.explaining import explain
from caudal.modalities.given import Asked, Conditioned
from caudal.modalities.rows import (
    OneShape,
    chunk_sizes,
    class_names,
    contexts_of,
    endless,
    in_chunks,
    nothing_between,
)
from caudal.modality import Examples, Request, Requests, Voice, Watch, opening
from caudal.recipes import Recipe
from caudal.recipes.nsf import SplineRecipe
from caudal.recipes.sizes import size_of
from caudal.report import (
    ColumnsFilm,
    Copula,
    Gaussian,
    ScreenTable,
    TableTeller,
    TargetJudge,
    folder_of,
    image_side,
    score_samples,
    write_table_manifold,
)
from caudal.report.numbers import span
from caudal.report.numbers import step as step_in_words
from caudal.report.style import shorten

_DRAWN_ROWS, _DRAWN_NUMBERS = 8192, 1 << 22  # at a time: bounds the memory
_LISTED = 24  # columns in the preview
_NAME, _WIDE = 22, 30  # characters of their names, and of their values
_FEW_ROWS, _MANY_ROWS, _LONG = 500, 50_000, 30.0  # minutes
_LOOKED_AT, _LEAST, _CROWDED = 4096, 100, 6.0  # rows; rows; nats
_LARGE_TEXT = 1 << 28  # bytes
_SPLINES = ("nsf", "nsf-ar", "nsf-iaf")
_ONE_COLUMN: Mapping[str, Mapping[str, Any]] = {
    "small": {"layers": 2},
    "medium": {"layers": 2, "hidden": 128},
    "large": {"layers": 3, "hidden": 256},
}
_GAUSSIAN_ALONE = ("made", "maf", "iaf")


@dataclass(frozen=True)
class _Rows:
    """Which rows and columns to learn."""

    data: str
    """A built-in name (digits, moons, rings, ...), or a file: .csv, .tsv and other text, .xlsx,
    .xls, .ods, .jsonl, .json, .parquet, .feather, .npy or .npz; text may be compressed. Or many
    Parquet files: a folder, a pattern such as 'data/*.parquet', or a URL such as
    's3://bucket/*.parquet'."""
    columns: tuple[str, ...] = ()
    """Columns to model, in this order; if not given all but the context, and but constants,
    identifiers and free text, which are passed over."""
    target: str | None = None
    """The column to predict: its distribution given all other columns is learned, as by
    --columns TARGET --context ALL OTHERS."""
    context: tuple[str, ...] = ()
    """Columns to condition on."""
    exclude: tuple[str, ...] = ()
    """Columns to leave out, of samples as well."""
    types: tuple[str, ...] = ()
    """What columns are, where the guess is wrong: age=integer[0,120] ratio=interval[0,1]
    grade=real:0.1 city=categorical price=positive amount=positive@0 day=datetime:%d/%m/%Y
    hour=circular[0,24] lat=latitude lon=circular[-180,180]."""
    types_from: str | None = None
    """A file that says what columns are: the columns.yaml of a run, as it is or edited."""
    missing: Literal["auto", "refuse", "drop", "model"] = "auto"
    """What to do about missing values: refuse them, drop their rows, or model them; auto drops
    rows where they are at most one in fifty, and models the other gaps."""
    strict: bool = False
    """Refuse what would have to be decided: gaps, constants, identifiers, words among numbers."""
    valid: str | None = None
    """A table of validation rows, instead of a share of the data."""
    test: str | None = None
    """A table of test rows, instead of a share of the data."""
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """Shares of training, validation and test rows."""
    split_seed: int = 0
    """Seed of the split, apart from that of training: runs of several seeds share one split."""

    def __post_init__(self) -> None:
        check_fields(self, skip=("data", "valid", "test", "types_from"))


@dataclass(frozen=True)
class TableOptions(Dialect, _Rows):
    """Which rows and columns to learn, and how text files write them."""

    def __post_init__(self) -> None:
        Dialect.__post_init__(self)
        _Rows.__post_init__(self)


@dataclass(frozen=True)
class TableReading(Dialect):
    """How other tables are read: as the table of the run was, unless told otherwise."""

    missing: Literal["refuse", "drop"] | None = None
    """What to do about missing values where the run has learned none: refuse them, or leave rows
    with them without a score; if not given, as the run did."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self)


@dataclass(frozen=True)
class TableDrawing:
    """What the samples of a table are conditioned on, and whether they are corrected."""

    context_file: str | None = None
    """A table of contexts, or of values to condition on, one row for each sample, over again if
    there are fewer."""
    given: tuple[str, ...] = ()
    """Values that all rows have, such as digit=3; sex= for a missing category. They may be of
    context columns or of modelled ones: the others are drawn given them."""
    exact: str | None = None
    """Run of a teacher with the same columns: the rows are corrected to be the teacher's own."""
    exact_steps: Annotated[int, Ge(1)] | None = None
    """Corrections of each row, 20 if not given; each costs a draw, and a density of the
    teacher."""

    def __post_init__(self) -> None:
        check_fields(self, skip=("context_file", "given", "exact"))
        if self.exact is None and self.exact_steps is not None:
            raise InputError(
                f"`exact_steps` {self.exact_steps}: is for `exact`, which names the teacher: give "
                f"both, or neither"
            )


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
        return open_rows(data, schema, missing, strict=strict, **asked)

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
        """Splines of marginals that are normal already bear a larger rate.

        Gradients are 10 to 300 long: a limit that acts in every step would be a rate of its own.
        An average of the weights bears the larger rate, and few rows are learned by heart later.
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
        return "medium" if is_one_given_others(dataset.schema) else None

    def sized(self, recipe: str, size: str, dataset: Dataset) -> Mapping[str, Any]:
        """Splines of a single column need few layers, each of which is one of all its shapes.

        What is to be learned is how it depends on the context, and that is in the nets.
        """
        usual = size_of(recipe, size)
        if recipe not in _SPLINES or not is_one_given_others(dataset.schema):
            return usual
        return {**usual, **_ONE_COLUMN.get(size, {})}

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

    def contexts(self, model: Any, asked: Contexts, seed: int, voice: Voice) -> Iterator[Tensor]:
        """Those of training rows; of rows alike, where some columns are given."""
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
            rows = dataset.train.shuffled(min(CHUNK, dataset.train.n_rows), seed + turn)
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
        given: Any = asked.context
        contexts = replace(drawing, given=given, context_file=file)
        requests = super().requests(model, n, contexts, seed, voice)
        sizes = chunk_sizes(requests.samples, self.chunk(model.schema))
        rows = in_chunks(asked.rows(), sizes)
        each = (r._replace(given=given) for r, given in zip(requests.each, rows, strict=False))
        return requests._replace(each=each)

    def decode(self, schema: TableSchema, x: Tensor, request: Request) -> tuple[Any, ...]:
        return (schema.decode(x, request.context, start=request.start),)

    def cells(self, schema: TableSchema, grid: Tensor) -> np.ndarray:
        """Whole numbers of ink, (n, n, side, side)."""
        side = image_side(schema) or 1
        return grid.cpu().double().numpy().reshape(*grid.shape[:2], side, side)

    def writer(
        self, path: str, schema: TableSchema, drawing: TableDrawing, temperature: float
    ) -> TableWriter:
        writer = TableWriter(path, schema.written)
        writer.check(schema.arrow)
        return writer

    def collect(self, schema: TableSchema, parts: list[tuple[Any, ...]], container: str) -> Any:
        import pyarrow as pa

        table = pa.concat_tables([table for (table,) in parts])
        return like(schema.under_headers(table), container)

    # --- what people see ------------------------------------------------------------------------

    def preview(self, dataset: Dataset) -> Iterator[Any]:
        shown = list(dataset.summary)
        if len(shown) > _LISTED:
            shown = shown[: _LISTED // 2]
        head = ["column", "kind", "missing", "values", ""]
        if shown:  # the columns of a finished run are known, and not told again
            yield ScreenTable("", head, [_cells(summary) for summary in shown], "")
        if len(shown) < len(dataset.summary):
            more = len(dataset.summary) - len(shown)
            yield f"... and {more} more columns; {COLUMNS_FILE} in the run has them all\n"
        yield ", ".join(f"{source.n_rows:,} {name}" for name, source in dataset.parts) + " rows"

    def advice(self, recipe: Recipe, dataset: Dataset) -> list[str]:
        lines = []
        if recipe.scores == "sequential" and len(dataset.schema.columns) > 1:
            lines.append(
                f"{recipe.name} scores one column at a time, and so it trains by maximum "
                f"likelihood; maf does both in one pass"
            )
        if len(dataset.schema.columns) == 1 and recipe.name in _GAUSSIAN_ALONE:
            lines.append(
                f"of a single column {recipe.name} can only make a Gaussian, before the column's "
                f"support bends it: use nsf-ar or maf-mog"
            )
        first = next(dataset.train.ordered(_LOOKED_AT)).x
        for column, values in zip(dataset.schema.columns, first.T, strict=True):
            if column.step or column.atoms:
                continue
            if (nats := crowding(values)) > _CROWDED:
                lines.append(
                    f"'{column.name}' crowds at few values, which alone give {nats:.0f} nats more "
                    f"than a smooth column has: say in which steps it comes, as in `types` "
                    f"{column.name}=real:0.01, or leave it out with `columns`"
                )
        return lines

    def next_commands(self, folder: str, schema: TableSchema, teaches: bool) -> list[str]:
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
    chosen = bool(options.get("columns") or options.get("exclude"))
    return {"chosen": chosen, "dialect": dialect.over(trained)}


def is_one_given_others(schema: TableSchema) -> bool:
    """Whether one column is modelled, given others."""
    return len(schema.columns) == 1 and bool(schema.context)


def crowding(values: Tensor) -> float:
    """How much denser a column is than a Gaussian of its interquartile range, in nats a row.

    The density is estimated by the distances between every m-th of the sorted values, m the root
    of their number (Vasicek, 1976); distances of 0 count as a millionth of the range.
    """
    x = values[values.isfinite()].double().sort().values
    n, m = len(x), int(len(x) ** 0.5)
    quarter = (x[3 * n // 4] - x[n // 4]) if n > _LEAST else x.new_zeros(())
    if quarter <= 0:
        return 0.0
    gaps = (x[m:] - x[:-m]).clamp(min=1e-6 * float(quarter))
    entropy = float((gaps * n / m).log().mean())
    gaussian = math.log(float(quarter) / 1.349) + 0.5 * math.log(2 * math.pi * math.e)
    return gaussian - entropy


def _cells(s: Summary) -> list[str]:
    """One line of the preview; it ends with what was decided, and the argument that changes it."""
    missing = f"{_percent(s.missing)} {s.gaps}".rstrip() if s.missing else ""
    if s.role == PASSED:
        how = f"{s.source}; {s.change}" if s.change else s.source
        why = s.why.removeprefix("is ").removeprefix("has ")
        return [shorten(s.name, _NAME), PASSED, missing, shorten(why, _WIDE), how]
    kind = s.support if s.kind == "categorical" else f"{s.kind} {s.support}"
    step = step_in_words(s)
    by = "" if step in ("", "1") else f" by {step}"
    by += ", in heaps" if s.heaped else ""
    values = span(s)
    values = values if s.low is not None else shorten(values, _WIDE)
    source = "" if s.change and s.source == "guessed" else s.source
    told = [source, "context" if s.role == "context" else "", s.change]
    return [shorten(s.name, _NAME), kind + by, missing, values, ", ".join(filter(None, told))]


def _percent(share: float) -> str:
    return f"{share:.1%}" if share < 0.1 else f"{share:.0%}"
