"""The user's rows, images or clips with their log-density beside them."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from caudal.data import Items, Piece, TableWriter
from caudal.data.schema import Unit
from caudal.fields import check_value
from caudal.flow import DRAWS
from caudal.report import log_prob_items
from caudal.report.evaluation import off_by
from caudal.report.numbers import a, short
from caudal.training.options import Count
from caudal.training.seeds import check_seed

if TYPE_CHECKING:
    from caudal.model.model import Model

COLUMN, ERROR = "log_prob", "log_prob_se"
Scored = tuple[Piece, np.ndarray, np.ndarray]
"""A piece of the data, and the log-density of each of its items with its standard error (N,)."""


@dataclass
class Scores:
    """What the scores of one file come to.

    Attributes:
        unit: of the data.
        kind: what the log-densities are: exact, a lower bound, or an estimate.
        uncertain: whether they have standard errors, as means of several draws.
        one, many: what an item is called.
        rows: how many items there were.
        scored: how many have a finite log-density.
        outside: how many have -inf.
        unscored: how many have none, as they lack a value.
        total: sum of the finite log-densities, nats.
        elements: sum of the elements of these items.
        total_error: sum of their standard errors, nats.
        lowest: the lowest finite log-density; of data with elements, the worst score of one.
        lowest_row: name or number (from 1) of that item.
        bias_bound: of a biased estimate, how far it is off at most, nats.
    """

    unit: Unit
    kind: str
    one: str
    many: str
    uncertain: bool
    bias_bound: float | None = None
    rows: int = 0
    scored: int = 0
    outside: int = 0
    unscored: int = 0
    total: float = 0.0
    elements: int = 0
    total_error: float = 0.0
    lowest: float = math.inf
    lowest_row: str | int | None = None

    def add(
        self,
        log_prob: np.ndarray,
        error: np.ndarray,
        elements: int,
        names: Sequence[str] | None,
    ) -> None:
        """Counts the items of a piece, each of so many elements; NaN is one without a score."""
        finite = np.isfinite(log_prob)
        if finite.any():
            worst = int(np.where(finite, log_prob, np.inf).argmin())
            per_item = float(log_prob[worst]) / (elements if self.unit.bits else 1)
            if per_item < self.lowest:
                row = self.rows + worst
                self.lowest, self.lowest_row = per_item, names[row] if names else row + 1
        self.rows += len(log_prob)
        self.scored += int(finite.sum())
        self.outside += int(np.isneginf(log_prob).sum())
        self.unscored += int(np.isnan(log_prob).sum())
        self.total += float(log_prob[finite].sum())
        self.elements += int(finite.sum()) * elements
        self.total_error += float(error[finite].sum())

    @property
    def log_prob(self) -> float | None:
        """Mean of the finite log-densities, nats an item."""
        return self.total / self.scored if self.scored else None

    @property
    def score(self) -> float | None:
        """Their mean in the unit of the data."""
        if not self.scored:
            return None
        return self.unit.scale * self.total / (self.elements if self.unit.bits else self.scored)

    @property
    def error(self) -> float | None:
        """The mean standard error of a log-density over draws, nats."""
        return self.total_error / self.scored if self.uncertain and self.scored else None

    def to_dict(self, out: str) -> dict[str, Any]:
        """For JSON, the same keys for every kind of data."""
        result: dict[str, Any] = {
            "out": out,
            "rows": self.rows,
            "rows_outside": self.outside,
            "rows_unscored": self.unscored,
            "log_prob_inside": self.log_prob,
            "lowest": self.unit.scale * self.lowest if self.scored else None,
            "lowest_row": self.lowest_row,
            "unit": self.unit.name,
            "kind": self.kind,
        }
        if self.unit.bits:
            result[f"{self.unit.key}_inside"] = self.score
        if self.uncertain:
            result[ERROR] = self.error
        if self.bias_bound is not None:
            result["bias_bound"] = self.bias_bound if math.isfinite(self.bias_bound) else None
        return result

    def error_sentence(self) -> str:
        """How uncertain log-densities of several draws are; empty where they are none."""
        if self.error is None:
            return ""
        text = f"mean standard error of one {self.one} {short(self.error)} nats, in column {ERROR}"
        if self.bias_bound is not None:
            away = off_by(self.bias_bound, f"nats {a(self.one)}")
            text += f"; beside it the estimate is {away}"
        return text


def score(
    model: "Model",
    data: Any,
    out: str | Path,
    seed: int,
    draws: int | None,
    overwrite: bool,
    reading: Mapping[str, Any],
) -> Scores:
    """Writes `data` with their log-density to a table file; see `Model.score`."""
    check_seed(seed)
    draws = draws_of(model, draws)
    writer = TableWriter(out)
    writer.prepare(overwrite)
    flow, schema = model.flow, model.schema
    bias = flow.bias_bound() if flow.kind.startswith("biased") else None
    uncertain = draws > 1
    scores = Scores(schema.unit, flow.kind, schema.one, schema.many, uncertain, bias)
    items = model.open_all(data, reading)
    items.refuse_columns(columns_of(uncertain, schema.unit))
    writer.check(items.arrow)
    items = items.beside_lines(writer)
    with writer:
        for piece, log_prob, error in scored(model, items, seed, draws):
            elements = piece.batch.x[0].numel() if len(piece.batch.x) else 1
            table = with_scores(piece.beside, log_prob, error, uncertain, schema.unit, elements)
            writer.write(table)
            scores.add(log_prob, error, elements, items.names)
    return scores


def draws_of(model: "Model", draws: int | None) -> int:
    """How many draws a score is the mean of: one where nothing is drawn."""
    check_value("draws", draws, Count | None)
    if not model.flow.noisy:
        return 1
    usual = DRAWS if model.flow.dequantization is None else model.kind.draws
    return draws or usual


def scored(model: "Model", items: Items, seed: int, draws: int) -> Iterator[Scored]:
    """The items piece by piece, with the log-density of each and its standard error."""
    for piece in model.voice.track(items.pieces(), "scoring", items.total):
        scores = np.full((2, piece.beside.num_rows), np.nan)
        keep = slice(None) if piece.keep is None else piece.keep
        pair = log_prob_items(model.flow, piece.batch, seed, draws)
        scores[:, keep] = [part.cpu().numpy() for part in pair]
        yield piece, scores[0], scores[1]


def columns_of(uncertain: bool, unit: Unit) -> list[str]:
    """The columns that scores are written to."""
    return [COLUMN, *([ERROR] if uncertain else []), *([unit.key] if unit.bits else [])]


def with_scores(
    table: pa.Table,
    log_prob: np.ndarray,
    error: np.ndarray,
    uncertain: bool,
    unit: Unit,
    elements: int,
) -> pa.Table:
    """The table with the columns of its scores."""
    values = [log_prob, *([error] if uncertain else [])]
    values += [-log_prob / (elements * math.log(2))] if unit.bits else []
    for name, column in zip(columns_of(uncertain, unit), values, strict=True):
        table = table.append_column(name, pa.array(column, from_pandas=True))
    return table
