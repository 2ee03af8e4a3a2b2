"""`caudal score`: the user's rows with one more column, their log-density."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from tyro.conf import FlagCreatePairsOff, Positional

from caudal.cli import score_audio, score_images
from caudal.cli.datasets import refuse_reading
from caudal.cli.opened import OpenedRun
from caudal.cli.options import ReadingOptions
from caudal.cli.output import open_output
from caudal.cli.parse import parse
from caudal.cli.scored import COLUMN, Tally, columns_of, error_words, kind_of
from caudal.cli.screen import Screen, number
from caudal.data import Batch
from caudal.data.names import check_names
from caudal.data.place import Place
from caudal.data.table.encode import encode_columns, gaps_in, refuse_gaps
from caudal.data.table.locate import open_table
from caudal.data.table.tables import PIECE, Tables
from caudal.errors import InputError
from caudal.report.evaluate import log_prob_rows_with_error
from caudal.report.gaussian import ROWS, noise, place
from caudal.report.numbers import OUTSIDE
from caudal.training.seeds import check_seed


@dataclass(frozen=True)
class ScoreOptions:
    """Writes a table's rows, all columns as they are, with their log-density beside them.

    The column log_prob is in nats, in the units of the data; -inf where a row lies outside what
    the columns can hold. In a run with --missing drop it is empty where a value is missing.
    Of a flow whose log-det is estimated, log_prob is the mean of 4 estimates, and a column
    log_prob_se has its standard error.
    Of images it writes their names, their class if the flow is given it, log_prob and
    bits_per_dim; of audio the clips, their seconds, log_prob and bits_per_sample.
    """

    run: Positional[str]
    """Run folder, or a model file."""
    data: str
    """The rows: a table with at least the run's columns; or images of the run's size; or audio."""
    out: str
    """Where to: .csv, .tsv (also with .gz, .bz2, .zst), .parquet, .npy or .npz."""
    seed: int = 0
    """Of the noise that fills values in steps and missing ones, and of estimates; without any
    of these, it is not used."""
    images: ReadingOptions = ReadingOptions()
    device: str = "auto"
    """cpu, cuda, cuda:1, mps, or auto for a GPU if there is one."""
    overwrite: FlagCreatePairsOff[bool] = False
    """Replace the file in --out, if there is one."""
    json: FlagCreatePairsOff[bool] = False
    """Print what was done as one JSON object on standard output, all else on standard error."""


def run(words: list[str]) -> int:
    """Runs the command."""
    options = parse(ScoreOptions, words, "caudal score")
    check_seed(options.seed)
    screen = Screen(options.json)
    writer = open_output(options.out, options.overwrite)
    opened = OpenedRun(options.run, options.device)
    if opened.has_audio:
        return score_audio.run(options, opened, writer, screen)
    if opened.has_images:
        return score_images.run(options, opened, writer, screen)
    refuse_reading(options.images, options.run)
    tally = Tally()
    rows = open_table(options.data, opened.table.text_names)
    check_names(opened.table.names, rows.names, options.data)
    for column in columns_of(opened.flow):
        if column in rows.names:
            raise InputError(f"{options.data} has a column '{column}' already: rename it first")
    writer.check(rows.schema)
    with writer:
        for table in screen.track(_scored(opened, rows, options.seed, tally), "scoring", None):
            writer.write(table)
    screen.say(f"{options.out}: {tally.rows:,} rows with {COLUMN} ({opened.flow.kind}, nats)")
    if tally.scored:
        screen.say(f"mean {number(tally.total / tally.scored)} over {tally.scored:,} rows")
        screen.say(f"lowest {number(tally.lowest)}, in row {tally.lowest_row:,}")
    if said := error_words(opened.flow, tally.error):
        screen.say(said)
    if tally.outside:
        screen.warn(f"{tally.outside:,} rows have a {COLUMN} of -inf: {OUTSIDE}")
    if tally.unscored:
        screen.warn(f"{tally.unscored:,} rows with missing values have no {COLUMN}")
    screen.result({**tally.to_dict(options.out), **kind_of(opened.flow, tally.error)})
    return 0


def _scored(opened: OpenedRun, rows: Tables, seed: int, tally: Tally) -> Iterator[pa.Table]:
    """The rows piece by piece with their scores."""
    generator = noise(opened.flow, seed)
    for _, first, table in rows.chunks(rows.names, rows=PIECE):
        batch, keep = encode_rows(opened, table, Place(rows.name, first + 1))
        scores = np.full((2, table.num_rows), np.nan)
        scores[:, keep] = _log_prob(opened, batch, generator)
        tally.add(*scores)
        for name, values in zip(columns_of(opened.flow), scores, strict=False):
            table = table.append_column(name, pa.array(values, from_pandas=True))
        yield table


def encode_rows(opened: OpenedRun, table: pa.Table, where: Place) -> tuple[Batch, np.ndarray]:
    """The rows that can be scored, as numbers, and a mask (N,) of which they are."""
    columns = opened.table.columns + opened.table.context
    keep = np.ones(table.num_rows, bool)
    if opened.drops:
        for column in columns:
            keep &= ~gaps_in(table[column.name]) | column.missing
        table, where = table.filter(pa.array(keep)), where.choose(keep)
    values = encode_columns(columns, table, where)
    refuse_gaps(columns, values, where)
    return Batch(*opened.table.split(torch.from_numpy(values.astype(np.float32)))), keep


@torch.no_grad()
def _log_prob(opened: OpenedRun, rows: Batch, generator: torch.Generator) -> np.ndarray:
    """Log-densities of rows and their standard errors: (2, N)."""
    found = [torch.empty(2, 0, dtype=torch.float64)]
    for start in range(0, len(rows.x), ROWS):
        part = slice(start, start + ROWS)
        context = None if rows.context is None else rows.context[part]
        batch = place(opened.flow, Batch(rows.x[part], context))
        found.append(torch.stack(log_prob_rows_with_error(opened.flow, batch, generator)).cpu())
    return torch.cat(found, 1).numpy()
