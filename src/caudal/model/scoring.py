"""The user's rows, images or clips with their log-density beside them."""

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from caudal.data import TableWriter
from caudal.data.schema import Unit
from caudal.model.alarm import Threshold
from caudal.model.densities import COLUMN, ERROR, draws_of, scored
from caudal.model.explaining import lowest_of, most_surprising
from caudal.report.numbers import a, count, number, short
from caudal.report.sentences import off_by
from caudal.training.seeds import check_seed
from caudal.training.threads import uncrowded
from caudal.training.together import is_writer

if TYPE_CHECKING:
    from caudal.model.model import Model

ALARM = "alarm"


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
        bias_bound: for a biased estimate, how far it is off at most, nats.
        threshold: below which an item is an alarm, if that is known.
        alarms: how many are.
        explained: the columns of the lowest items, if that was asked for (see `Model.explain`).
    """

    unit: Unit
    kind: str
    one: str
    many: str
    uncertain: bool
    bias_bound: float | None = None
    threshold: Threshold | None = None
    rows: int = 0
    scored: int = 0
    outside: int = 0
    unscored: int = 0
    total: float = 0.0
    elements: int = 0
    total_error: float = 0.0
    lowest: float = math.inf
    lowest_row: str | int | None = None
    alarms: int = 0
    explained: pa.Table | None = None

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
        if self.threshold is not None:
            self.alarms += int((log_prob < self.threshold.log_prob).sum())

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
        if self.threshold is not None:
            result["alarm"] = {**asdict(self.threshold), "alarms": self.alarms}
        if self.explained is not None:
            result["explained"] = most_surprising(self.explained)
        return result

    def alarm_sentence(self) -> str:
        """How many items are alarms, beside how many would be by chance; empty if not known."""
        t = self.threshold
        if t is None:
            return ""
        below = f"{count(self.alarms, f'{self.one} is', f'{self.many} are')} below"
        rate = f"{t.rate:.3g} ± {t.two_se:.2g}"
        return (
            f"{below} {number(t.log_prob)} nats, the threshold of a false-alarm rate of {rate} "
            f"(2 s.e., by {t.rows:,} validation {self.many})"
        )

    def error_sentence(self) -> str:
        """How uncertain log-densities of several draws are; empty where they are none."""
        if self.error is None:
            return ""
        text = f"mean standard error of one {self.one} {short(self.error)} nats, in column {ERROR}"
        if self.bias_bound is not None:
            away = off_by(self.bias_bound, f"nats {a(self.one)}")
            text += f"; beside it the estimate is {away}"
        return text


@uncrowded()
def score(
    model: "Model",
    data: Any,
    out: str | Path,
    *,
    seed: int = 0,
    draws: int | None = None,
    overwrite: bool = False,
    alarm: float | None = None,
    explain: int = 0,
    **reading: Any,
) -> Scores:
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
    check_seed(seed)
    lowest = lowest_of(model, explain)
    draws = draws_of(model, draws)
    writer = TableWriter(out)
    writer.prepare(overwrite)
    flow, schema = model.flow, model.schema
    bias = flow.bias_bound() if flow.kind.startswith("biased") else None
    uncertain = draws > 1
    threshold = model.threshold(alarm)
    scores = Scores(schema.unit, flow.kind, schema.one, schema.many, uncertain, bias, threshold)
    items = model.open_all(data, reading)
    has_alarm = [ALARM] if alarm is not None else []
    items.refuse_columns([*columns_of(uncertain, schema.unit), *has_alarm])
    writer.check(items.arrow)
    items = items.beside_lines(writer)
    writes = is_writer()
    with writer if writes else nullcontext():
        for piece, log_prob, error in scored(model, items, seed, draws):
            elements = piece.batch.x[0].numel() if len(piece.batch.x) else 1
            table = with_scores(piece.beside, log_prob, error, uncertain, schema.unit, elements)
            if alarm is not None and threshold is not None:
                is_low = pa.array(log_prob < threshold.log_prob, mask=np.isnan(log_prob))
                table = table.append_column(ALARM, is_low)
            if writes:
                writer.write(table)
            scores.add(log_prob, error, elements, items.names)
            if lowest is not None:
                lowest.add(piece, log_prob)
    if lowest is not None:
        scores.explained = lowest.explain(model, seed)
    return scores


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
